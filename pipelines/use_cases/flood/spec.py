"""River floods: tomorrow's mean discharge of a river, with quantiles and the probability of a flood."""

from pipelines.spec import Column, Dataset, Gate, Intervals, Nowcast, Retention, Segmentation, Source, Sunset, UseCase

_SITE = Column(name="site_id", type="string", key=True, doc="USGS site number, with its leading zeros.")
_DAY = Column(name="day", type="date", key=True, coercions=("text",), doc="Calendar day in the site's own time zone.")

SITES = Dataset(
    name="sites",
    source="sites",
    version="1.0",
    day_column=None,
    columns=(
        _SITE,
        Column(name="name", type="string", doc="Name of the gauge."),
        Column(
            name="latitude",
            type="float",
            coercions=("text",),
            unit="degree",
            nullable=True,
            minimum=-90,
            maximum=90,
            doc="WGS 84.",
        ),
        Column(
            name="longitude",
            type="float",
            coercions=("text",),
            unit="degree",
            nullable=True,
            minimum=-180,
            maximum=180,
            doc="WGS 84.",
        ),
        Column(name="timezone", type="string", nullable=True, doc="IANA time zone whose midnight bounds the day."),
        Column(
            name="flood_discharge_m3s",
            type="float",
            coercions=("text",),
            unit="m3/s",
            nullable=True,
            minimum=0,
            maximum=300_000,
            doc="Discharge at the official flood stage; empty where none is published.",
        ),
    ),
)

DISCHARGE = Dataset(
    name="discharge",
    source="usgs",
    version="1.0",
    correction_days=14,
    # Not by its values: that a gauge has none under ice is no fault of a day
    complete_by=("site_id",),
    columns=(
        _SITE,
        _DAY,
        Column(
            name="discharge_m3s",
            type="float",
            coercions=("text",),
            unit="m3/s",
            nullable=True,
            minimum=0,
            maximum=300_000,
            doc="Daily mean discharge; empty where the gauge gives none (ice, equipment).",
        ),
        Column(name="is_provisional", type="bool", doc="Still subject to revision by the USGS."),
        Column(name="is_estimated", type="bool", doc="Estimated by the USGS (qualifier e)."),
        Column(
            name="qualifiers",
            type="string",
            nullable=True,
            doc="The upstream's qualifiers, joined by blanks.",
        ),
    ),
)

WEATHER = Dataset(
    name="weather",
    source="openmeteo_archive",
    version="1.0",
    correction_days=10,
    complete_by=("site_id",),
    complete_values=("precip_mm", "temp_mean_c"),
    columns=(
        _SITE,
        _DAY,
        Column(
            name="precip_mm",
            type="float",
            coercions=("text",),
            unit="mm",
            nullable=True,
            minimum=0,
            maximum=2_000,
            doc="Rain and melted snow fallen over the day.",
        ),
        Column(
            name="temp_mean_c",
            type="float",
            coercions=("text",),
            unit="degC",
            nullable=True,
            minimum=-90,
            maximum=60,
            doc="Mean air temperature at 2 m over the day.",
        ),
    ),
)

FORECAST = Dataset(
    name="forecast",
    source="openmeteo_forecast",
    version="1.0",
    correction_days=0,
    complete_by=("site_id",),
    complete_values=("precip_next_mm", "temp_next_c"),
    columns=(
        _SITE,
        Column(name="day", type="date", key=True, doc="The day before the one that is forecast, at the site."),
        Column(
            name="precip_next_mm",
            type="float",
            coercions=("text",),
            unit="mm",
            nullable=True,
            minimum=0,
            maximum=2_000,
            doc="Forecast precipitation of the next day.",
        ),
        Column(
            name="temp_next_c",
            type="float",
            coercions=("text",),
            unit="degC",
            nullable=True,
            minimum=-90,
            maximum=60,
            doc="Forecast mean air temperature of the next day.",
        ),
        Column(
            name="is_hindcast",
            type="bool",
            doc="The values are what was observed later: the source carries no forecasts (CAMELS).",
        ),
    ),
)

INSTANTANEOUS = Dataset(
    name="instantaneous",
    source="usgs",
    version="1.0",
    partition="month",
    keep_days=90,
    columns=(
        _SITE,
        Column(name="day", type="date", key=True, doc="Day of observed_at in UTC."),
        Column(
            name="observed_at",
            type="timestamp",
            key=True,
            coercions=("text",),
            doc="When it was measured; most gauges do so every 15 minutes.",
        ),
        Column(
            name="discharge_m3s",
            type="float",
            coercions=("text",),
            unit="m3/s",
            nullable=True,
            minimum=0,
            maximum=300_000,
            doc="Discharge at that moment; empty where the gauge gives none (ice, equipment).",
        ),
        Column(name="is_provisional", type="bool", doc="Still subject to revision by the USGS."),
        Column(name="is_estimated", type="bool", doc="Estimated by the USGS (qualifier e)."),
        Column(
            name="qualifiers",
            type="string",
            nullable=True,
            doc="The upstream's qualifiers, joined by blanks.",
        ),
    ),
)

USE_CASE = UseCase(
    slug="flood",
    title="River floods",
    doc=__doc__,
    owner="hydrology",
    schedule="0 9 * * *",
    timezone="UTC",
    history_start="2004-01-01",
    sources=(
        Source(
            name="usgs",
            live_url="https://api.waterdata.usgs.gov",
            sandbox_path="/usgs",
            sunsets=(
                Sunset(
                    what="NWIS WaterServices (waterservices.usgs.gov: dv, iv), from which recorded answers are read",
                    ends_on="2027-01-01",  # announced for early 2027, without a day
                    link="https://water.code-pages.usgs.gov/dataRetrieval/articles/Status.html",
                    instead="Record answers of the OGC API (api.waterdata.usgs.gov), which the daily run asks already.",
                ),
            ),
        ),
        Source(name="openmeteo_archive", live_url="https://archive-api.open-meteo.com", sandbox_path="/archive"),
        Source(name="openmeteo_forecast", live_url="https://api.open-meteo.com", sandbox_path="/forecast"),
        Source(
            name="openmeteo_past_forecast",
            live_url="https://historical-forecast-api.open-meteo.com",
            sandbox_path="/past-forecast",
        ),
    ),
    datasets=(SITES, DISCHARGE, WEATHER, FORECAST),
    entity="site_id",
    target="discharge_next_m3s",
    labels=("discharge_next_m3s", "is_flood_next"),
    notes=("is_hindcast",),
    required_features=("discharge_m3s", "flood_threshold_m3s"),
    gate=Gate(metric="nse", must_beat="persistence", may_lose=0.02, segment_may_lose=0.1),
    segments=(
        Segmentation(name="site", column="site_id"),
        Segmentation(
            name="rain forecast", column="precip_next_mm", edges=(1.0, 10.0), labels=("dry", "rain", "heavy rain")
        ),
        Segmentation(name="half year", column="season_cos", edges=(0.0,), labels=("April on", "October on")),
        Segmentation(name="flood", column="is_flood_next"),
    ),
    # A flood and the weeks that it takes to recede are one event
    intervals=Intervals(block_days=30),
    limits=(
        "A forecast of the next day's mean: the peak within a day is higher.",
        "It knows no dams: where gates are opened, the river does what rain does not explain.",
        "Trained on a hindcast it is better on paper than with real weather forecasts; see is_hindcast.",
        "A site without a flood threshold, in its first year, gets no forecast.",
    ),
    memory_days=90,
    yearly_memory=True,
    nowcast=Nowcast(datasets=(INSTANTANEOUS,), label_column="discharge_m3s"),
    # A model of rare floods learns from all years there are
    retention=Retention(landing_days=50 * 365, normalized_days=50 * 365, features_days=50 * 365),
)
