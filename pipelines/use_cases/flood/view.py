"""How river forecasts are shown: the hydrograph of a gauge, and its chance of a flood."""

from pipelines.views import Ranking, Series, View

VIEW = View(
    entity_title="Gauge",
    of_entity=(
        Series(
            title="Hydrograph",
            unit="m³/s",
            value="discharge_m3s",
            low="discharge_p10_m3s",
            high="discharge_p90_m3s",
            has_actual=True,
            threshold="flood_threshold_m3s",
            threshold_title="flood",
            days_ahead=1,
            doc="The mean discharge of each day as it was forecast the day before, with the band from P10 to P90; the "
            "points are what was measured, the dashed line is the discharge from which it is a flood.",
        ),
        Series(
            title="Chance of a flood",
            unit="probability",
            value="flood_probability",
            level=0.5,
            days_ahead=1,
            kind="bars",
            doc="From the line on, a warning goes out.",
        ),
    ),
    of_all=(
        Ranking(
            title="Gauges by their chance of a flood",
            value="flood_probability",
            value_title="chance of a flood",
            texts=("discharge_m3s", "discharge_p90_m3s"),
        ),
    ),
)
