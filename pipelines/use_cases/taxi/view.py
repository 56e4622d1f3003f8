"""How fares are shown: each forecast against the meter. Trips are no entities that one would follow."""

from pipelines.views import Histogram, Scatter, View

VIEW = View(
    entity_title="Trip",
    of_all=(
        Scatter(
            title="Fares, forecast and by the meter",
            unit="USD",
            value="fare_usd",
            doc="A point a trip, of a sample of the newest. Those above the diagonal were forecast too dear; rows of "
            "points are flat fares.",
        ),
        Histogram(title="Fares as forecast", unit="USD", value="fare_usd"),
    ),
    days=62,
)
