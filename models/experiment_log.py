"""The rows of `serving.experiments`: who started, changed or stopped an experiment, when and why."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from models.serving.experiments import Experiment

Mode = Literal["shadow", "split"]
_COLUMNS = "use_case, mode, version, bento, share, salt, stopped, actor, reason"
_NEWEST = f"select {_COLUMNS} from serving.experiments where use_case = %s order by experiment_id desc limit 1"
_ADD = f"insert into serving.experiments ({_COLUMNS}) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"


def hold(cursor: Any, use_case: str) -> None:
    """Has whoever else wants to change the use case's experiment wait for this transaction."""
    cursor.execute("select pg_advisory_xact_lock(hashtext(%s))", (f"experiment {use_case}",))


def running(cursor: Any, use_case: str) -> Experiment | None:
    """The experiment of a use case; None where none is running."""
    cursor.execute(_NEWEST, (use_case,))
    row = cursor.fetchone()
    if row is None or row[6]:
        return None
    return Experiment(*row[:6])


def add(
    cursor: Any,
    use_case: str,
    mode: Mode,
    version: int,
    bento: str,
    share: float,
    actor: str,
    reason: str,
    salt: str | None = None,
) -> Experiment:
    """Starts an experiment, in the place of another one, or changes the share of the one that is running.

    Of the same version, the salt stays: whoever the challenger has answered to, it goes on answering to as the share
    grows. Of another one it is the given `salt`, or any.
    """
    hold(cursor, use_case)
    present = running(cursor, use_case)
    salt = present.salt if present is not None and present.version == version else salt or secrets.token_hex(8)
    cursor.execute(_ADD, (use_case, mode, version, bento, share, salt, False, actor, reason))
    return Experiment(use_case, mode, version, bento, share, salt)


def stop(cursor: Any, use_case: str, actor: str, reason: str) -> Experiment | None:
    """Stops the experiment that is running, and gives it; None where there is none."""
    hold(cursor, use_case)
    present = running(cursor, use_case)
    if present is not None:
        values = (present.mode, present.version, present.bento, present.share, present.salt)
        cursor.execute(_ADD, (use_case, *values, True, actor, reason))
    return present
