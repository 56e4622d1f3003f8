"""How forecasts are shown on the page in Airflow: whether a shop is sold out, as it was forecast and as it came."""

from pipelines.views import Series, View

VIEW = View(
    entity_title="Shop",
    of_entity=(Series(title="Sold out tomorrow?", unit="probability", value="sold_out_probability", has_actual=True),),
)
