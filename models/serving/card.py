"""What the prediction service must know about a model: one JSON file, written next to the model's file."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import ModelError

BENTO_FOLDER = "model"
"""Folder of a Bento's sources that holds the card and the model."""
CARD_FILE = "card.json"
MODEL_FILE = "model.pkl"

Kind = Literal["onnx", "columns", "sklearn"]
"""How a model answers; see `models.serving.engine`."""
TOLERANCES: dict[Kind, float] = {"onnx": 1e-5, "columns": 1e-9, "sklearn": 1e-9}
"""How far a number may be from the model's own in a notebook, relative to it."""

_NAME = r"^[a-z][a-z0-9_]*$"
_SHA256 = r"^[0-9a-f]{64}$"
_FILE = r"^[a-z][a-z0-9_.]*$"


class Feature(BaseModel):
    """One column of the model's input; a nullable one may be left out or null, and reaches the model as NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_NAME)
    type: Literal["float", "int", "bool", "string"]
    nullable: bool = False


class ServingCard(BaseModel):
    """The served model: where it comes from, what goes in and what comes out.

    `features` are in the order of the columns the model was fitted on; `outputs` are the columns of its answer that are
    numbers, `texts` those that are text. `entity` and `day` are the keys of `feature_table`, a qualified name such as
    `flood.features`. `engine` is how it answers, `engine_difference` the largest relative difference from the
    pipeline's own answers that was measured, `engine_note` why nothing faster was taken. `files` are those beside the
    model, with their hashes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    use_case: str = Field(pattern=_NAME)
    version: int = Field(ge=1)
    run_id: str
    entity: str = Field(pattern=_NAME)
    entity_type: Literal["string", "int"] = "string"
    day: str = Field(pattern=_NAME)
    feature_table: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    features: tuple[Feature, ...] = Field(min_length=1)
    outputs: tuple[str, ...] = Field(min_length=1)
    texts: tuple[str, ...] = ()
    title: str
    doc: str
    model_sha256: str = Field(pattern=_SHA256)
    engine: Kind = "sklearn"
    engine_difference: float | None = None
    engine_note: str = ""
    files: dict[Annotated[str, Field(pattern=_FILE)], Annotated[str, Field(pattern=_SHA256)]] = {}
    created_at: datetime

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for kind, names in (("feature", self.feature_names), ("output", self.answer_names)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"the {kind} {twice[0]} is declared twice")
        if clash := {self.entity, self.day} & set(self.answer_names):
            raise ValueError(f"the output {min(clash)} has the name of a key")
        return self

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in the model's order."""
        return [feature.name for feature in self.features]

    @property
    def answer_names(self) -> list[str]:
        """Names of the answer's columns: the numbers, then the texts."""
        return [*self.outputs, *self.texts]

    @property
    def kinds(self) -> dict[str, Literal["float", "int", "bool", "string"]]:
        """The type of each feature by its name, in the model's order."""
        return {feature.name: feature.type for feature in self.features}

    @property
    def file_sha256s(self) -> dict[str, str]:
        """The hash of the model's file and of each one beside it, by name."""
        return {MODEL_FILE: self.model_sha256, **self.files}

    @property
    def tolerance(self) -> float:
        """How far its numbers may be from the model's own, relative to them."""
        return TOLERANCES[self.engine]

    def write(self, folder: Path) -> Path:
        """Writes the card as `card.json` into the folder and gives its path."""
        path = folder / CARD_FILE
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return path


def read_card(folder: Path) -> ServingCard:
    """The card in that folder.

    Raises:
        ModelError: there is none, or it is not a card.
    """
    path = folder / CARD_FILE
    try:
        return ServingCard.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"There is no serving card at {path}; the Bento is built by models.serving.package.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the card"
        raise ModelError(f"The serving card {path} cannot be used: {where}: {first['msg']}.") from error


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
