"""Indian equities: whether a share's adjusted price will be higher five sessions on, from NSE's daily files."""

from pipelines.spec import Calendar, Column, Dataset, Gate, Intervals, Segmentation, Source, UseCase, Watch

MOST_INR = 10_000_000.0
"""No price is above this: the dearest share has traded at a few hundred thousand rupees."""

_SYMBOL = Column(name="symbol", type="string", key=True, doc="Symbol of the instrument on that day.")
_SERIES = Column(
    name="series",
    type="string",
    key=True,
    doc="NSE's series: EQ, BE and BZ are equities, SM and ST the SME platform, N* and others debt; NA is a series.",
)


def _price(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(
        name=name,
        type="float",
        coercions=("text",),
        unit="INR",
        nullable=nullable,
        minimum=0.0,
        maximum=MOST_INR,
        doc=doc,
    )


def _count(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type="int", coercions=("text", "integral"), nullable=nullable, minimum=0, doc=doc)


def _ratio(name: str, doc: str) -> Column:
    return Column(
        name=name,
        type="float",
        coercions=("text",),
        unit="ratio",
        nullable=True,
        minimum=0.0001,
        maximum=10_000,
        doc=doc,
    )


PRICES = Dataset(
    name="prices",
    source="nse_archives",
    version="1.0",
    # A file may come days late, or be corrected, and the delivery file is often the later one
    correction_days=7,
    partition="month",
    columns=(
        _SYMBOL,
        _SERIES,
        Column(name="day", type="date", key=True, coercions=("text",), doc="Day of trading, in Asia/Kolkata."),
        Column(
            name="layout",
            type="string",
            key=True,
            doc="Layout of the file that the row is of: `legacy` (cmDDMMMYYYYbhav), `udiff` (BhavCopy_NSE_CM) or "
            "`delivery` (sec_bhavdata_full). The same trades may be in several; staging takes one row of them.",
        ),
        Column(name="isin", type="string", nullable=True, doc="ISIN on that day; the delivery file has none."),
        Column(name="name", type="string", nullable=True, doc="Name of the instrument; only UDiFF has one."),
        _price("open_inr", "First price of the day."),
        _price("high_inr", "Highest price of the day."),
        _price("low_inr", "Lowest price of the day."),
        _price("close_inr", "Closing price: the average of the last half hour, weighted by volume."),
        _price("last_inr", "Price of the last trade; empty where the file says 0.", nullable=True),
        _price(
            "prev_close_inr",
            "Close of the session before, as traded then: not adjusted on ex-dates.",
            nullable=True,
        ),
        _price("average_inr", "Price of the day weighted by volume; only the delivery file has it.", nullable=True),
        _count("volume_shares", "Shares traded."),
        Column(
            name="turnover_inr",
            type="float",
            coercions=("text",),
            unit="INR",
            minimum=0.0,
            maximum=1e15,
            doc="Value traded; the delivery file rounds it to 1,000 INR.",
        ),
        _count("trades", "Number of trades; files before 2011 have none.", nullable=True),
        _count("delivery_shares", "Shares that were to be delivered; only the delivery file has it.", nullable=True),
    ),
)

ACTIONS = Dataset(
    name="actions",
    source="nse_website",
    version="1.0",
    correction_days=7,
    sparse=True,
    columns=(
        _SYMBOL,
        _SERIES,
        Column(name="day", type="date", key=True, coercions=("text",), doc="Ex-date: the first day without the right."),
        Column(name="purpose", type="string", key=True, doc="What the exchange says of it, blanks made single."),
        Column(name="company", type="string", nullable=True, doc="Name of the company."),
        Column(name="isin", type="string", nullable=True, doc="ISIN, where the source gives one."),
        Column(
            name="kind",
            type="string",
            doc="`split`, `bonus`, `split and bonus`, `consolidation`, `dividend`, `rights`, `other`, or `multiplier` "
            "of a list that does not say which.",
        ),
        _ratio("split_factor", "Shares after for one share before, by a split; below 1 by a consolidation."),
        _ratio("bonus_factor", "Shares after for one share before, by a bonus issue: 1:2 gives 1.5."),
    ),
)

# The exchange of XBOM has NSE's holidays, but its calendar knows few of the special sessions
_MUHURAT = (
    "2006-10-21", "2009-10-17", "2013-11-03", "2014-10-23", "2015-11-11", "2016-10-30", "2017-10-19", "2018-11-07",
    "2019-10-27", "2020-11-14", "2021-11-04", "2022-10-24", "2023-11-12", "2024-11-01", "2025-10-21", "2026-11-08",
)  # fmt: skip
"""The hour of trading on Diwali, which is a holiday or falls on a weekend."""
_SATURDAYS = (
    "2006-06-25", "2010-02-06", "2012-01-07", "2012-03-03", "2012-04-28", "2012-09-08", "2013-05-11", "2014-03-22",
    "2015-02-28", "2020-02-01", "2024-03-02", "2024-05-18", "2026-02-01",
)  # fmt: skip
"""Weekend days of trading: budgets, and exercises of the systems."""

_BROWSER = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36"),
    ("Accept", "*/*"),
    ("Accept-Language", "en-US,en;q=0.9"),
    ("Referer", "https://www.nseindia.com/all-reports"),
)
"""The exchange answers 403 to what does not look like a browser."""

USE_CASE = UseCase(
    slug="equities",
    title="Indian equities",
    doc=__doc__,
    owner="markets",
    schedule="30 18 * * *",
    timezone="Asia/Kolkata",
    lag_days=0,
    history_start="2023-01-02",
    sources=(
        Source(
            name="nse_archives",
            live_url="https://nsearchives.nseindia.com",
            sandbox_path="/nse-archives",
            slots=1,
            headers=_BROWSER,
            pause_s=0.5,
        ),
        Source(
            name="nse_website",
            live_url="https://www.nseindia.com",
            sandbox_path="/nse-website",
            slots=1,
            headers=_BROWSER,
            pause_s=1.0,
        ),
    ),
    datasets=(PRICES, ACTIONS),
    entity="symbol",
    target="is_up_next_5d",
    labels=("is_up_next_5d", "return_next_5d", "label_day"),
    notes=("instrument", "isin", "series", "sessions", "is_unexplained_jump"),
    required_features=("close_inr", "return_5d"),
    # Not the AUC over all rows: a hold-out has too few days for it to tell more than how the market went
    gate=Gate(metric="roc_auc_within_days", must_beat="majority", may_lose=0.01, segment_may_lose=0.03),
    segments=(
        Segmentation(name="turnover in rupees", column="turnover_inr", edges=(1e7, 1e8)),
        Segmentation(name="market of five days", column="market_return_5d", edges=(0.0,), labels=("fell", "rose")),
    ),
    # Labels of five sessions overlap for a week
    intervals=Intervals(block_days=14),
    limits=(
        "It tells one share of a day from the other by a little more than chance, and not where the market goes.",
        "Costs of trading are not in it, and are more than what it knows.",
        "Shares that trade less than a million rupees a day were neither trained on nor measured.",
    ),
    label_days=21,
    label_day_column="label_day",
    carries_state=True,
    gap_days=5,
    holdout_days=120,
    is_seasonal=False,
    # The mean of 200 sessions has its first value then
    watch=Watch(warm_up_days=290),
    calendar=Calendar(kind="exchange", exchange="XBOM", added=(*_MUHURAT, *_SATURDAYS)),
)
