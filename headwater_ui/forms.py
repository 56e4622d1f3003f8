"""The token of a form that changes something: made for one user and one decision, good for an hour."""

from __future__ import annotations

from airflow.configuration import conf
from fastapi import HTTPException
from itsdangerous import BadSignature, URLSafeTimedSerializer

GOOD_FOR_S = 3600
SALT = "headwater pages"


def token(user: str, *decision: str) -> str:
    """What the form carries; signed with the key of Airflow's API server."""
    return _signer().dumps([user, *decision])


def require(given: str, user: str, *decision: str) -> None:
    """Refuses a form that this user was not shown for this decision.

    Raises:
        HTTPException: 403, for a token that is another's, forged, or too old.
    """
    try:
        known = _signer().loads(given, max_age=GOOD_FOR_S)
    except BadSignature as error:
        raise HTTPException(403, "The form has expired or is not ours; go back, load it again and decide.") from error
    if known != [user, *decision]:
        raise HTTPException(403, "The form was made for another decision or another user; load it again and decide.")


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt=SALT)
