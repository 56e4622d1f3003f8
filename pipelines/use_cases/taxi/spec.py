"""New York's yellow taxis: the metered fare of a trip, from the monthly files of the Taxi and Limousine Commission."""

from pipelines.spec import Column, Dataset, Gate, Segmentation, Source, UseCase, Watch

MOST_USD = 1_000.0
"""No trip is charged more; what is, is a slip of the keys (3,004.00 for one mile) and goes to quarantine."""


def _amount(name: str, doc: str, *, nullable: bool = False) -> Column:
    """An amount of money; below zero where a trip was voided or refunded, which are rows like others."""
    return Column(
        name=name,
        type="float",
        coercions=("text",),
        unit="USD",
        nullable=nullable,
        minimum=-MOST_USD,
        maximum=MOST_USD,
        doc=doc,
    )


def _degrees(name: str, most: float, doc: str) -> Column:
    return Column(
        name=name,
        type="float",
        coercions=("text",),
        unit="degree",
        nullable=True,
        minimum=-most,
        maximum=most,
        doc=doc,
    )


def _zone(name: str, doc: str) -> Column:
    return Column(name=name, type="int", coercions=("text", "integral"), nullable=True, minimum=1, maximum=265, doc=doc)


TRIPS = Dataset(
    name="trips",
    source="tlc",
    version="1.0",
    # The commission publishes months again; a run asks for the two before its own as well
    correction_days=59,
    partition="month",
    shard_rows=2**20,
    row_column="trip_id",
    # A shard is some 20 MB; it stays a file of its own
    file_mb=32,
    columns=(
        Column(
            name="trip_id",
            type="int",
            key=True,
            doc="Month of the file and place of the row in it: 201901000000005 is the sixth row of January 2019. Trips "
            "have no key of their own.",
        ),
        Column(name="day", type="date", key=True, doc="Day of the pick-up, on New York's clocks."),
        Column(name="vendor", type="string", nullable=True, doc="Provider of the record: CMT, VTS (VeriFone), DDS."),
        Column(name="pickup_at", type="timestamp", doc="When the meter was started."),
        Column(name="dropoff_at", type="timestamp", nullable=True, doc="When the meter was stopped."),
        Column(
            name="passengers",
            type="int",
            coercions=("text", "integral"),
            nullable=True,
            minimum=0,
            maximum=255,
            doc="Passengers, as the driver entered them; 0 is common and says that nobody entered any.",
        ),
        Column(
            name="distance_miles",
            type="float",
            coercions=("text",),
            unit="mile",
            minimum=0.0,
            maximum=1_000.0,
            doc="Distance by the taximeter.",
        ),
        _degrees("pickup_longitude", 180.0, "Longitude of the pick-up, until June 2016; 0 where it was not known."),
        _degrees("pickup_latitude", 90.0, "Latitude of the pick-up, until June 2016; 0 where it was not known."),
        _degrees("dropoff_longitude", 180.0, "Longitude of the drop-off, until June 2016; 0 where it was not known."),
        _degrees("dropoff_latitude", 90.0, "Latitude of the drop-off, until June 2016; 0 where it was not known."),
        _zone("pickup_zone", "TLC taxi zone of the pick-up, since July 2016 (1 to 265; 264 and 265 are unknown)."),
        _zone("dropoff_zone", "TLC taxi zone of the drop-off, since July 2016."),
        Column(
            name="rate",
            type="string",
            nullable=True,
            doc="`standard`, `jfk`, `newark`, `nassau or westchester`, `negotiated`, `group` or `unknown`.",
        ),
        Column(
            name="payment",
            type="string",
            nullable=True,
            doc="`credit`, `cash`, `no charge`, `dispute`, `unknown`, `voided` or `flex`.",
        ),
        Column(
            name="is_stored",
            type="bool",
            nullable=True,
            doc="Whether the record was kept in the vehicle and sent later.",
        ),
        _amount("fare_usd", "Fare by the meter, or the flat or agreed one."),
        _amount("extra_usd", "Night and rush-hour extras; until 2014 called surcharge.", nullable=True),
        _amount("mta_tax_usd", "Tax of the MTA.", nullable=True),
        _amount("tip_usd", "Tip, of credit cards only.", nullable=True),
        _amount("tolls_usd", "Tolls.", nullable=True),
        _amount("improvement_usd", "Improvement surcharge, since 2015.", nullable=True),
        _amount("congestion_usd", "Congestion surcharge, since February 2019.", nullable=True),
        _amount("airport_usd", "Fee of the airports, since 2021.", nullable=True),
        _amount("cbd_usd", "Fee of the congestion relief zone, since 2025.", nullable=True),
        _amount("total_usd", "What was charged, cash tips aside."),
    ),
)

USE_CASE = UseCase(
    slug="taxi",
    title="New York taxi fares",
    doc=__doc__,
    owner="mobility",
    period="month",
    schedule="0 6 5 * *",
    timezone="America/New_York",
    lag_months=2,
    # After the run of the 5th
    audit_schedule="0 12 5 * *",
    history_start="2025-01-01",
    sources=(
        Source(
            name="tlc",
            live_url="https://d37ci6vzurychx.cloudfront.net/trip-data",
            sandbox_path="/tlc",
            slots=1,
            # Its host does not list its files, and so refuses those that it has not
            absent=(403, 404),
        ),
    ),
    datasets=(TRIPS,),
    entity="trip_id",
    target="fare_usd",
    labels=("fare_usd", "total_usd"),
    notes=("payment",),
    required_features=("distance_miles", "pickup_hour", "weekday"),
    gate=Gate(metric="rmse_usd", must_beat="linear", higher_is_better=False, may_lose=0.05, segment_may_lose=0.5),
    segments=(
        Segmentation(name="rate", column="rate"),
        Segmentation(
            name="hour",
            column="pickup_hour",
            edges=(6.0, 10.0, 16.0, 20.0),
            labels=("night", "morning", "day", "rush hour", "evening"),
        ),
        Segmentation(name="distance in miles", column="distance_miles", edges=(2.0, 10.0)),
    ),
    limits=(
        "Negotiated and group fares were agreed on; the model has seen none.",
        "Tips, tolls and surcharges are no part of the fare.",
        "A new tariff is known to it only when trips of that tariff have been trained on.",
    ),
    # The fare is known when the trip ends
    label_days=0,
    holdout_days=60,
    drift_days=31,
    is_seasonal=False,
    drift_by_entity=False,
    watches_volume=True,
    # A window is a month: a second one to be sure would be a month late
    watch=Watch(windows=1, of=1),
    sample_rows=120_000,
    measured_by="rate",
)
