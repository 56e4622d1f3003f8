"""Customer churn: whether a customer of a telephone company leaves within the next month, from its CRM's database."""

from pipelines.spec import Column, Dataset, Gate, Intervals, Retention, Search, Segmentation, Source, UseCase, Watch

OFFER_USD = 30.0
"""What it costs to make a customer an offer to stay."""
LOST_USD = 800.0
"""What a customer who leaves would still have brought, after costs."""
PERSUADED_SHARE = 0.3
"""Share of those about to leave who stay when they are made an offer."""

_CUSTOMER = Column(name="customer_id", type="string", key=True, doc="The CRM's number of the customer.")
_SEEN = Column(
    name="day",
    type="date",
    key=True,
    doc="Day from which this version of the row is known: that of its change by the CRM's clock (UTC), or the day on "
    "which a change was found that the CRM had not marked.",
)
_UPDATED = Column(
    name="updated_at",
    type="timestamp",
    nullable=True,
    doc="When the CRM last marked the row as changed; files have none.",
)
_ROW_HASH = Column(
    name="row_hash", type="string", nullable=True, doc="MD5 of the row in the CRM, to find changes it does not mark."
)


def _text(name: str, doc: str, *, nullable: bool = True) -> Column:
    return Column(name=name, type="string", nullable=nullable, doc=doc)


def _flag(name: str, doc: str) -> Column:
    return Column(name=name, type="bool", nullable=True, doc=doc)


def _usd(name: str, doc: str, most: float) -> Column:
    # The CRM's numeric arrives as text, since no float holds all of its values
    return Column(
        name=name, type="float", coercions=("text",), unit="USD", nullable=True, minimum=0.0, maximum=most, doc=doc
    )


CUSTOMERS = Dataset(
    name="customers",
    source="crm",
    version="1.0",
    # The overlap: a row that was committed late carries the time of its change, and clocks differ
    correction_days=3,
    sparse=True,
    columns=(
        _CUSTOMER,
        _SEEN,
        _text("gender", "Gender as the customer gave it."),
        _flag("is_senior", "65 or older."),
        _flag("has_partner", "Lives with a partner."),
        _flag("has_dependents", "Lives with children or parents to care for."),
        _text("payment_method", "How the bills are paid."),
        _flag("is_paperless", "Bills come by e-mail alone."),
        Column(name="joined_on", type="date", nullable=True, doc="First day as a customer."),
        Column(
            name="left_on", type="date", nullable=True, doc="Day on which the customer left; empty while they stay."
        ),
        _UPDATED,
        _ROW_HASH,
    ),
)

CONTRACTS = Dataset(
    name="contracts",
    source="crm",
    version="1.0",
    correction_days=3,
    sparse=True,
    columns=(
        Column(name="contract_id", type="string", key=True, doc="The CRM's number of the contract."),
        _SEEN,
        _text("customer_id", "The customer whose contract it is.", nullable=False),
        _text("contract", "How long the contract binds, such as Month-to-month."),
        _flag("has_phone", "Has a telephone line."),
        _flag("has_multiple_lines", "Has several lines; empty without a telephone."),
        _text("internet_service", "Kind of internet access, or No."),
        _flag("has_online_security", "Empty without internet access, as are the five below."),
        _flag("has_online_backup", "Backup in the network."),
        _flag("has_device_protection", "Insurance of devices."),
        _flag("has_tech_support", "Technical support."),
        _flag("has_streaming_tv", "Television."),
        _flag("has_streaming_movies", "Films."),
        Column(name="started_on", type="date", nullable=True, doc="First day of the contract; files do not say."),
        Column(name="ended_on", type="date", nullable=True, doc="Last day, where it was ended or replaced."),
        _UPDATED,
        _ROW_HASH,
    ),
)

USAGE = Dataset(
    name="usage",
    source="crm",
    version="1.0",
    day_column="month",
    # A month is billed in the first days of the next one, and may be billed anew in the one after
    correction_days=75,
    sparse=True,
    columns=(
        _CUSTOMER,
        Column(name="month", type="date", key=True, doc="First day of the month."),
        _usd("charge_usd", "Billed for the month.", 100_000.0),
        _usd("total_charge_usd", "Billed since the customer joined; empty before the first bill.", 10_000_000.0),
        Column(
            name="data_gb",
            type="float",
            unit="GB",
            nullable=True,
            minimum=0.0,
            maximum=1e6,
            doc="Data sent and received; files have none.",
        ),
        Column(
            name="support_calls", type="int", nullable=True, minimum=0, doc="Calls to the hotline; files have none."
        ),
        _UPDATED,
        _ROW_HASH,
    ),
)

REMOVALS = Dataset(
    name="removals",
    source="crm",
    version="1.0",
    sparse=True,
    columns=(
        Column(name="table_name", type="string", key=True, doc="Table of the CRM that the row was in."),
        Column(name="row_key", type="string", key=True, doc="Key that the row had there."),
        Column(name="day", type="date", key=True, doc="Day of the run that found the row gone."),
        Column(name="found_at", type="timestamp", doc="When that was, by the CRM's clock."),
    ),
)

USE_CASE = UseCase(
    slug="churn",
    title="Customer churn",
    doc=__doc__,
    owner="retention",
    schedule="0 5 * * *",
    timezone="UTC",
    history_start="2024-01-01",
    sources=(Source(name="crm", kind="database", slots=1),),
    datasets=(CUSTOMERS, CONTRACTS, USAGE, REMOVALS),
    entity="customer_id",
    target="is_churn_next_month",
    labels=("is_churn_next_month", "label_day"),
    notes=("is_first_version",),
    hindsight_note="is_first_version",
    gate=Gate(metric="roc_auc", must_beat="contract", may_lose=0.01, segment_may_lose=0.05),
    segments=(
        Segmentation(name="contract", column="contract"),
        Segmentation(name="tenure in months", column="tenure_months", edges=(12.0, 36.0)),
        Segmentation(name="senior", column="is_senior"),
    ),
    # A customer's months are one customer
    intervals=Intervals(by="entity"),
    limits=(
        "It says who is likely to leave, not whom an offer would keep: that needs a trial with offers at random.",
        "Reasons are what moves the model, not causes.",
        "No ground to refuse a service or to set a price.",
    ),
    features_on="month_end",
    # The features of a month come with its bills
    late_days=35,
    # The next month's days, and some more: its end is known when rows of a later day have come
    label_days=45,
    label_day_column="label_day",
    # A bill reaches the features of its month and of the three after
    memory_days=124,
    carries_state=True,
    holdout_days=180,
    # Few leave: of a large company's customers, all of those and as many others as fit
    sample_rows=200_000,
    sample_keeps="is_churn_next_month",
    # A fit takes a second
    search=Search(trials=8),
    drift_days=31,
    is_seasonal=False,
    drift_by_entity=False,
    # A month's customers are mostly those of the month before; a day's window has the same month as the last one
    watch=Watch(against="before"),
    measured_by="contract",
    # The CRM keeps no history: what Headwater has seen is all there is to learn from
    retention=Retention(landing_days=10 * 365, normalized_days=10 * 365, features_days=10 * 365),
)
