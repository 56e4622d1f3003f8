"""The BentoML service. Lives inside a Bento, next to the card and the model that `models.serving.package` put there.

The model is a file of the Bento and not an entry of BentoML's model store: the Bento is then one folder that
can be copied, exported or put into an image by itself, and no second store can get out of step with it.
"""

from __future__ import annotations

import gc
from pathlib import Path

import bentoml
import joblib

from models.serving.app import Model, Predictor, prediction_app
from models.serving.card import BENTO_FOLDER, MODEL_FILE, ServingCard, file_sha256, read_card
from models.serving.lookup import FeatureStore
from pipelines.errors import ModelError
from pipelines.settings import get_settings

FOLDER = Path(__file__).resolve().parents[2] / BENTO_FOLDER

# Read on import because BentoML wants the routes, whose field names are the card's, with the class.
card = read_card(FOLDER)
app = prediction_app(card)


def load_model(card: ServingCard, folder: Path) -> Model:
    """The model in that folder.

    Raises:
        ModelError: the file is not the one the card was written for.
    """
    path = folder / MODEL_FILE
    found = file_sha256(path)
    if found != card.model_sha256:
        raise ModelError(f"{path} has the hash {found}, but its card is for {card.model_sha256}; build the Bento anew.")
    model: Model = joblib.load(path)
    return model


# Per request, the access log and the spans cost more than the web server does.
@bentoml.service(
    name=f"headwater-{card.use_case}",
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
    traffic={"timeout": 30},
)
@bentoml.asgi_app(app, path="/")
class Predictions:
    """Predictions of one model version over HTTP.

    BentoML makes the instance before its server accepts connections, so no request meets a service without
    a model: until then connections wait, and `/readyz` gives no answer.
    """

    def __init__(self) -> None:
        self.store = FeatureStore(card, lambda: get_settings().require_database())
        app.state.predictor = Predictor(card, load_model(card, FOLDER), self.store)
        # What exists by now stays; without this each full collection walks all of it in the midst of a request.
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Closes the connections to the warehouse."""
        self.store.close()
