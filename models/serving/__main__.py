"""`python -m models.serving`: the prediction service by itself, where no more than `serving.txt` is installed."""

from __future__ import annotations

import logging
import sys

from models.serving.serve import serve
from pipelines.errors import HeadwaterError
from pipelines.settings import get_settings

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        serve(get_settings())
    except HeadwaterError as error:
        sys.exit(str(error))
