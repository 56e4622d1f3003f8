"""Every error this project raises on purpose.

Each message says what was wrong, where, and what to do, so that the sentence alone is enough for whoever
reads it on a terminal, in an Airflow log or in an HTTP answer.
"""


class HeadwaterError(Exception):
    """Base of all errors that a user can act on."""


class SettingsError(HeadwaterError):
    """A setting is missing, unknown or has a value that cannot be used."""


class NotFoundError(HeadwaterError):
    """A use case, entity, window, model or report that was asked for does not exist."""


class SourceError(HeadwaterError):
    """An upstream cannot be reached or refuses; trying again later may help."""


class RefusedError(SourceError):
    """A channel cannot take this one message, and may well take the next."""


class ContractError(HeadwaterError):
    """An answer breaks its data contract, or a contract the promise of its released version; nothing retries it."""


class StorageError(HeadwaterError):
    """The lake's store cannot be reached, refuses, or lacks something that it should hold."""


class DatabaseError(HeadwaterError):
    """Postgres cannot be reached or refused a statement."""


class TransformError(HeadwaterError):
    """dbt failed or skipped at least one node."""


class QualityError(HeadwaterError):
    """A day's data is below a gate that holds back what would be published; trying again changes nothing of it."""


class RecomputeError(HeadwaterError):
    """Features computed anew are not those that were published; they have taken their place, so nothing retries it."""


class SkewError(HeadwaterError):
    """What was answered online is not what dbt and the model make of the same data; nothing retries it."""


class ModelError(HeadwaterError):
    """Training, evaluation, packaging or promotion cannot go on."""


class TooFewRowsError(ModelError):
    """There is not enough to train on or to measure with; only more data helps."""


class EvidenceError(ModelError):
    """What was packaged has changed, or another champion than it was compared with came; nothing retries it."""


class LogFullError(HeadwaterError):
    """The request log can take no more rows, so no answer may be given that it would lack; trying again may help."""


class StackError(HeadwaterError):
    """A local service cannot be started, reached or stopped."""
