"""The exchange's daily files: the legacy bhavcopy, UDiFF, and the prices with deliveries.

As upstream: a trailing comma in the legacy header and rows, and in the header alone of UDiFF while it ran beside the
legacy format (its reserved columns had other names then); blanks after the commas of the delivery file, which has no
ISIN and tells no deliveries for series in which every trade is one.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from datetime import date

from sandbox.nse.market import Quote

_LEGACY = "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,"
_UDIFF = (
    "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,FininstrmActlXpryDt,StrkPric,OptnTp,"
    "FinInstrmNm,OpnPric,HghPric,LwPric,ClsPric,LastPric,PrvsClsgPric,UndrlygPric,SttlmPric,OpnIntrst,"
    "ChngInOpnIntrst,TtlTradgVol,TtlTrfVal,TtlNbOfTxsExctd,SsnId,NewBrdLotQty,Rmks"
)
_RESERVED, _RESERVED_BEFORE = ",Rsvd1,Rsvd2,Rsvd3,Rsvd4", ",Rsvd01,Rsvd02,Rsvd03,Rsvd04,"
_RENAMED_ON = date(2024, 7, 1)
_DELIVERY = (
    "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, CLOSE_PRICE, AVG_PRICE, "
    "TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, DELIV_PER"
)
_LAKH = 100_000.0


def legacy(day: date, quotes: Sequence[Quote]) -> str:
    """`cmDDMMMYYYYbhav.csv`."""
    return _lines(_LEGACY, (_legacy(quote, day.strftime("%d-%b-%Y").upper()) for quote in quotes))


def udiff(day: date, quotes: Sequence[Quote]) -> str:
    """`BhavCopy_NSE_CM_0_0_0_YYYYMMDD_F_0000.csv`, in no order."""
    mixed = sorted(quotes, key=lambda quote: zlib.crc32(quote.isin.encode()))
    reserved = _RESERVED if day >= _RENAMED_ON else _RESERVED_BEFORE
    return _lines(_UDIFF + reserved, (_udiff(quote, day.isoformat()) for quote in mixed))


def delivery(day: date, quotes: Sequence[Quote]) -> str:
    """`sec_bhavdata_full_DDMMYYYY.csv`."""
    return _lines(_DELIVERY, (_delivery(quote, day.strftime("%d-%b-%Y")) for quote in quotes))


def zipped(name: str, text: str, day: date) -> bytes:
    """An archive of the one file, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(name, (day.year, day.month, day.day, 18, 0, 0))
        archive.writestr(entry, text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _lines(header: str, rows: Iterable[str]) -> str:
    return "\n".join((header, *rows, ""))


def _legacy(quote: Quote, stamp: str) -> str:
    prices = (quote.open, quote.high, quote.low, quote.close, quote.last, quote.prev_close)
    figures = ",".join(map(_short, prices))
    return (
        f"{quote.symbol},{quote.series},{figures},{quote.volume},{_short(quote.turnover)},{stamp},"
        f"{quote.trades},{quote.isin},"
    )


def _short(figure: float) -> str:
    return f"{figure:.2f}".rstrip("0").rstrip(".")


def _udiff(quote: Quote, stamp: str) -> str:
    token = zlib.crc32(quote.isin.encode()) % 30_000
    prices = (quote.open, quote.high, quote.low, quote.close, quote.last, quote.prev_close)
    figures = ",".join(f"{price:.2f}" for price in prices)
    return (
        f"{stamp},{stamp},CM,NSE,STK,{token},{quote.isin},{quote.symbol},{quote.series},,,,,{quote.name.upper()},"
        f"{figures},,{quote.close:.2f},,,{quote.volume},{quote.turnover:.2f},{quote.trades},F1,{quote.lot},,,,,"
    )


def _delivery(quote: Quote, stamp: str) -> str:
    told = quote.series not in ("BE", "BZ")
    prices = (quote.prev_close, quote.open, quote.high, quote.low, quote.last, quote.close, quote.average)
    share = 100.0 * quote.delivered / quote.volume
    return ", ".join(
        (
            quote.symbol,
            quote.series,
            stamp,
            *(f"{price:.2f}" for price in prices),
            str(quote.volume),
            f"{quote.turnover / _LAKH:.2f}",
            str(quote.trades),
            str(quote.delivered) if told else "-",
            f"{share:.2f}" if told else "-",
        )
    )
