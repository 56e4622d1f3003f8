"""How churn is shown: whom to call and why, how the probabilities are spread, and whether they came true."""

from pipelines.use_cases.churn.spec import LOST_USD, OFFER_USD, PERSUADED_SHARE
from pipelines.views import Calibration, Histogram, Ranking, Series, View

VIEW = View(
    entity_title="Customer",
    of_entity=(
        Series(
            title="Chance to leave within the next month",
            unit="probability",
            value="churn_probability",
            level=OFFER_USD / (PERSUADED_SHARE * LOST_USD),
            kind="bars",
            doc="From the line on, an offer to stay brings more than it costs.",
        ),
    ),
    of_all=(
        Ranking(
            title="Customers to call first",
            value="churn_probability",
            value_title="chance to leave",
            texts=("reason_1", "reason_2", "reason_3"),
            doc="Reasons are what moves the model, not causes.",
        ),
        Histogram(
            title="Customers by their chance to leave",
            unit="probability",
            value="churn_probability",
            level=OFFER_USD / (PERSUADED_SHARE * LOST_USD),
            level_title="an offer pays",
        ),
        Calibration(title="Did they leave as often as was said?", value="churn_probability"),
    ),
    days=400,
)
