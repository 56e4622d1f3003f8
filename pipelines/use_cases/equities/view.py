"""How shares are shown: the price of one and what was said of it, the day's ranking, and whether it came true."""

from pipelines.views import Calibration, Ranking, Series, View

VIEW = View(
    entity_title="Symbol",
    of_entity=(
        Series(
            title="Price",
            unit="INR",
            column="close_inr",
            column_title="close",
            doc="The close of each session, as traded.",
        ),
        Series(
            title="Chance to be higher five sessions on",
            unit="probability",
            value="up_probability",
            level=0.5,
            has_actual=True,
            doc="Points are what came: at 1 where the adjusted price was higher, at 0 where it was not.",
        ),
    ),
    of_all=(
        Ranking(title="Shares of the newest session", value="up_probability", value_title="chance to rise", rows=25),
        Calibration(title="Did they rise as often as was said?", value="up_probability"),
    ),
)
