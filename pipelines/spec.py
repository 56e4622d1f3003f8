"""What a use case declares. Standard library only: parsing a DAG imports this and nothing heavier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipelines.datasets import Coercion, Column, ColumnType, Dataset, Source, Sunset
from pipelines.judging import Approval, Gate, Intervals, Quality, Search, Segmentation, Watch

__all__ = [
    "Approval", "Calendar", "Coercion", "Column", "ColumnType", "Dataset", "Gate", "Intervals", "Nowcast", "Quality",
    "Retention", "Search", "Segmentation", "Source", "Sunset", "UseCase", "Watch",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The days on which an upstream publishes data; on others, none are expected.

    `kind` is every day, Monday to Friday, or the sessions of an `exchange` (its ISO 10383 code, such as XNYS).
    `added` and `removed` are ISO days that differ from that: special sessions, holidays declared late.
    """

    kind: Literal["daily", "weekdays", "exchange"] = "daily"
    exchange: str | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many days each layer keeps before its older part may be archived.

    `request_log_days` is of the answers of the service and their shadows; batch predictions stay.
    """

    landing_days: int = 5 * 365
    normalized_days: int = 3 * 365
    features_days: int = 365
    request_log_days: int = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Nowcast:
    """Forecasts between the daily runs, on values of the present day.

    `datasets` are its own: the daily steps, features, drift and audits know nothing of them. Each run (on `schedule`, a
    cron expression in UTC, `minutes` apart) asks for what is newer than the newest value known, and again for the last
    `overlap_hours`, for values are revised; of an entity that is behind it asks for all of the last `days`. It works on
    those days (in UTC), merges what came, and builds the models in `dbt/models/<slug>/nowcast`; one of them is
    `<slug>.inference_window`: for each entity the features as of now, in the daily features' own definitions.

    `time_column` is when a value was measured. An entity whose newest value is `stale_minutes` old is marked; it keeps
    its last features, and gets no forecast from ones older than `forecast_hours`, nor where the daily features beside
    them are of a day more than `daily_days` before. `window_days` of hours are kept for each entity in that table, and
    `warehouse_days` of values in Postgres.

    What comes of a forecast is the mean of `label_column` over the `label_hours` after its moment, known once a value
    of the end of that time is there, and values of `label_least_hours` of its hours; without a column, none is known.
    """

    datasets: tuple[Dataset, ...]
    schedule: str = "*/15 * * * *"
    minutes: int = 15
    days: int = 2
    overlap_hours: int = 6
    time_column: str = "observed_at"
    stale_minutes: int = 120
    forecast_hours: int = 6
    daily_days: int = 3
    window_days: int = 7
    warehouse_days: int = 14
    label_column: str | None = None
    label_hours: int = 24
    label_least_hours: int = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCase:
    """A data set, the model on it and the promises about both. All other names derive from `slug`.

    `schedule` is a cron expression in `timezone`; the run of a day works on the day `lag_days` before, at the site.
    With the `period` month, a run works on a whole month, named by its first day: that `lag_months` before the run's.
    The features of all days are computed anew on `recompute_schedule`, and what is stored is audited on
    `audit_schedule`, both in the same zone.

    `labels` and `notes` are the feature table's columns that no model may see. A row whose `hindsight_note` holds has
    features that were known only after its day, and the leakage probe passes over it. A label looks at most
    `label_days` ahead; `label_day_column` is the column with the day on which it was known, where that is not the next.
    `memory_days` is how many days a change of one row can reach forward into the features; with `yearly_memory` one
    can, beyond them, reach all days of later years (a statistic over whole years), and where the features
    `carries_state` from each day to the next (exponential averages) it reaches all later days. Drift is looked for in
    `drift_days`, against the same days of earlier years where the features have seasons (`is_seasonal`), in how far
    entities depart from their own usual selves, or in all of them taken together (not `drift_by_entity`): who the
    customers are is what drifts, and not one of them. Where entities come and go (trips, orders), `watches_volume` has
    the number of rows a day compared as well.

    An entity has features on each day, or only on the last one of a month (`features_on`). Those of a day may be
    published up to `late_days` after it; each run scores so many days again. Where all rows are of one day, and none is
    before or after another, `holdout_share` of the entities of each class are held out in place of `holdout_days`.

    Metrics are told apart by `measured_by`, by default the entity; `segments` are held against the gate one by one.
    With a `nowcast`, forecasts are also made between the daily runs. `quality` are the gates of a day's data.
    `limits` are sentences for the model card: what the model is not for, and where it is known to be weak.
    Of more than `sample_rows` a training uses a sample, drawn by a hash of each row with the seed `sample_seed`; with
    `sample_days`, only rows of so many last days. Of the rows to train on it keeps each one where the truth value
    `sample_keeps` holds, however rare, and draws among the others; or it makes one row of those of a day that agree in
    the columns `sample_means`, with the mean of each number. A row then has a weight, how many it stands for, by which
    the models calibrate what they say. The hold-out stays as it is, but for its size.
    """

    slug: str
    title: str
    doc: str
    owner: str
    schedule: str
    timezone: str
    history_start: str
    sources: tuple[Source, ...]
    datasets: tuple[Dataset, ...]
    entity: str
    target: str
    labels: tuple[str, ...]
    gate: Gate
    approval: Approval = Approval()
    notes: tuple[str, ...] = ()
    hindsight_note: str | None = None
    required_features: tuple[str, ...] = ()
    day_column: str = "day"
    period: Literal["day", "month"] = "day"
    lag_days: int = 1
    lag_months: int = 1
    label_days: int = 1
    label_day_column: str | None = None
    memory_days: int = 0
    yearly_memory: bool = False
    carries_state: bool = False
    recompute_schedule: str = "0 3 * * 0"
    # Not on the first: with a lag, the month's last day has its run only then
    audit_schedule: str = "0 4 2 * *"
    features_on: Literal["day", "month_end"] = "day"
    late_days: int = 0
    holdout_days: int = 730
    holdout_share: float = 0.2
    gap_days: int = 1
    drift_days: int = 30
    is_seasonal: bool = True
    drift_by_entity: bool = True
    watches_volume: bool = False
    watch: Watch = Watch()
    sample_rows: int | None = None
    sample_seed: int = 0
    sample_days: int | None = None
    sample_keeps: str | None = None
    sample_means: tuple[str, ...] = ()
    search: Search = Search()
    measured_by: str | None = None
    segments: tuple[Segmentation, ...] = ()
    intervals: Intervals = Intervals()
    limits: tuple[str, ...] = ()
    calendar: Calendar = Calendar()
    retention: Retention = Retention()
    quality: Quality = Quality()
    nowcast: Nowcast | None = None

    @property
    def stored(self) -> tuple[Dataset, ...]:
        """All data sets: those of the daily run, and those of the nowcast."""
        return self.datasets + (self.nowcast.datasets if self.nowcast else ())

    @property
    def inference_table(self) -> str:
        """Qualified name of the table with each entity's features as of now, where there is a nowcast."""
        return f"{self.slug}.inference_window"

    @property
    def entity_type(self) -> Literal["string", "int"]:
        """Whether entities are numbers or texts, as the data sets that have them say."""
        kinds = {column.type for dataset in self.datasets for column in dataset.columns if column.name == self.entity}
        return "int" if kinds == {"int"} else "string"

    @property
    def label_known(self) -> tuple[str, int]:
        """The column of a day, and how many days after it a row's label is known."""
        return (self.day_column, 1) if self.label_day_column is None else (self.label_day_column, 0)

    @property
    def raw_schema(self) -> str:
        """Postgres schema of the loaded, contracted rows."""
        return f"raw_{self.slug}"

    @property
    def schema(self) -> str:
        """Postgres schema of the features and marts that dbt publishes."""
        return self.slug

    @property
    def feature_table(self) -> str:
        """Qualified name of the published feature table."""
        return f"{self.slug}.features"

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment and of the registered model."""
        return self.slug

    @property
    def bento(self) -> str:
        """Name of the Bento that serves this use case."""
        return f"headwater-{self.slug}"

    def dag_id(self, shape: str) -> str:
        """Id of the DAG of a shape, such as `flood__ingest`."""
        return f"{self.slug}__{shape}"

    def dataset(self, name: str) -> Dataset:
        """The data set of that name."""
        return next(dataset for dataset in self.stored if dataset.name == name)

    def source(self, name: str) -> Source:
        """The upstream of that name."""
        return next(source for source in self.sources if source.name == name)
