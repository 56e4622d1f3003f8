"""Files as the exchange would write them, made up: three shares and a bond."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import date

import polars as pl

from pipelines.contract import Checked, check
from pipelines.landing import LandedObject
from pipelines.use_cases.equities import source
from pipelines.use_cases.equities.spec import USE_CASE
from pipelines.window import Window

DAY = date(2024, 3, 4)
ALWAYS = Window.parse("1990-01-01", "2030-12-31")
LEGACY = "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,"
UDIFF = (
    "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,FininstrmActlXpryDt,StrkPric,OptnTp,"
    "FinInstrmNm,OpnPric,HghPric,LwPric,ClsPric,LastPric,PrvsClsgPric,UndrlygPric,SttlmPric,OpnIntrst,"
    "ChngInOpnIntrst,TtlTradgVol,TtlTrfVal,TtlNbOfTxsExctd,SsnId,NewBrdLotQty,Rmks,Rsvd1,Rsvd2,Rsvd3,Rsvd4"
)
DELIVERY = (
    "SYMBOL, SERIES, DATE1, PREV_CLOSE, OPEN_PRICE, HIGH_PRICE, LOW_PRICE, LAST_PRICE, CLOSE_PRICE, AVG_PRICE, "
    "TTL_TRD_QNTY, TURNOVER_LACS, NO_OF_TRADES, DELIV_QTY, DELIV_PER"
)
SHARES = (("ALPHA", "EQ", 100), ("BETA", "EQ", 20), ("GAMMA", "BE", 3000), ("BOND9", "NA", 1000))


def isin(at: int) -> str:
    return f"INE{at:03}A01011"


def legacy(day: date = DAY, shares: Sequence[tuple[str, str, float]] = SHARES) -> list[str]:
    rows = [
        f"{symbol},{series},{price},{price + 2.5},{price - 1},{price + 1},{price + 1.05},{price - 0.5},1000,"
        f"{price * 1000},{day:%d-%b-%Y},{at + 10},{isin(at)},"
        for at, (symbol, series, price) in enumerate(shares)
    ]
    return [LEGACY, *(row.replace(f"{day:%b}", f"{day:%b}".upper()) for row in rows)]


def udiff(day: date = DAY, shares: Sequence[tuple[str, str, float]] = SHARES) -> list[str]:
    return [UDIFF, *(
        f"{day},{day},CM,NSE,STK,{at},{isin(at)},{symbol},{series},,,,,{symbol} LIMITED,{price}.00,{price + 2.5:.2f},"
        f"{price - 1:.2f},{price + 1:.2f},{price + 1.05:.2f},{price - 0.5:.2f},,{price + 1:.2f},,,1000,"
        f"{price * 1000:.2f},{at + 10},F1,1,,,,,"
        for at, (symbol, series, price) in enumerate(shares)
    )]  # fmt: skip


def delivery(day: date = DAY, shares: Sequence[tuple[str, str, float]] = SHARES) -> list[str]:
    return [DELIVERY, *(
        f"{symbol}, {series}, {day:%d-%b-%Y}, {price - 0.5:.2f}, {price:.2f}, {price + 2.5:.2f}, {price - 1:.2f}, "
        f"{price + 1.05:.2f}, {price + 1:.2f}, {price + 0.4:.2f}, 1000, {price / 100:.2f}, {at + 10}, "
        + ("-, -" if series == "BE" else f"{500 + at}, {50 + at / 10:.2f}")
        for at, (symbol, series, price) in enumerate(shares)
    )]  # fmt: skip


LAYOUTS = {"legacy": legacy, "udiff": udiff, "delivery": delivery}


def bytes_of(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def name_of(layout: str, day: date = DAY) -> str:
    return {
        "legacy": f"cm{day:%d}{day:%b}".upper().replace("CM", "cm") + f"{day:%Y}bhav.csv.zip",
        "udiff": f"BhavCopy_NSE_CM_0_0_0_{day:%Y%m%d}_F_0000.csv.zip",
        "delivery": f"sec_bhavdata_full_{day:%d%m%Y}.csv",
    }[layout]


def zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files:
            archive.writestr(name, body)
    return buffer.getvalue()


Answer = tuple[str, bytes, dict[str, str]]
"""What was asked for, what came, and the context."""


def parsed(*answers: Answer, dataset: str = "prices", form: str = "csv") -> pl.DataFrame:
    landed = [(LandedObject("", len(body), name, form, context), body) for name, body, context in answers]
    return source.parse(USE_CASE.dataset(dataset), landed)


def checked(*answers: Answer, dataset: str = "prices", form: str = "csv") -> Checked:
    """The rows of answers behind parser and contract; none is lost."""
    rows = parsed(*answers, dataset=dataset, form=form)
    found = check(USE_CASE.dataset(dataset), rows, ALWAYS)
    assert found.received == rows.height
    assert found.quarantined.get_column("reason").null_count() == 0
    return found


def prices(body: bytes, name: str = "a file", day: date | None = DAY) -> Checked:
    return checked((name, body, {} if day is None else {"day": str(day)}))


def reasons(found: Checked) -> list[str]:
    return found.quarantined.get_column("reason").to_list()
