"""Bakeries: whether a shop will be sold out tomorrow, from its daily sales."""

from pipelines.spec import Column, Dataset, Gate, Source, UseCase

_SHOP = Column(name="shop_id", type="string", key=True, doc="Name of the shop.")

SHOPS = Dataset(
    name="shops",
    source="bakery_office",
    version="1.0",
    day_column=None,
    columns=(
        _SHOP,
        Column(name="baked_count", type="int", coercions=("text",), minimum=1, doc="Loaves baked a day."),
    ),
)

SALES = Dataset(
    name="sales",
    source="bakery_office",
    version="1.0",
    correction_days=2,
    columns=(
        _SHOP,
        Column(name="day", type="date", key=True, coercions=("text",), doc="Calendar day."),
        Column(name="sold_count", type="int", coercions=("text",), minimum=0, doc="Loaves sold."),
    ),
)

USE_CASE = UseCase(
    slug="bakeries",
    title="Bakeries",
    doc=__doc__,
    owner="ovens",
    schedule="30 5 * * *",
    timezone="Europe/Lisbon",
    history_start="2026-01-01",
    sources=(
        Source(
            name="bakery_office",
            live_url="https://example.org",
            sandbox_path="/bakeries",
        ),
    ),
    datasets=(SHOPS, SALES),
    entity="shop_id",
    target="is_sold_out_next",
    labels=("is_sold_out_next",),
    required_features=("sold_share",),
    gate=Gate(metric="roc_auc", must_beat="majority"),
    memory_days=7,
    holdout_days=60,
    is_seasonal=False,
)
