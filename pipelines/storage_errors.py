"""What obstore, deltalake and polars say of a store that cannot be used, as one sentence.

They hand on the error of Rust's `object_store` as text over many lines; only that text tells what happened.
"""

from __future__ import annotations

import re

from deltalake.exceptions import DeltaError

_KEYS = "HEADWATER_LAKE_OPTIONS__AWS_ACCESS_KEY_ID and HEADWATER_LAKE_OPTIONS__AWS_SECRET_ACCESS_KEY"
_CASES: tuple[tuple[str, str], ...] = (
    (
        r"NoSuchBucket",
        "There is no bucket for {url}; make it, or name another place (the lake's is HEADWATER_LAKE_URL)",
    ),
    (
        r"169\.254\.169\.254|metadata\.google|No valid credential",
        f"The store at {{url}} needs credentials and none were found; set {_KEYS}, or those of AWS itself",
    ),
    (
        r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|PermissionDenied|Unauthenticated|\b40[13] [UF]",
        f"The store at {{url}} refuses access ({{code}}); check {_KEYS}, and what they may do with that bucket",
    ),
    (
        r"Permission denied",
        "The store at {url} refuses access (permission denied); let the user who runs this read and write that folder",
    ),
    (
        r"error sending request|[Cc]onnection refused|timed out|dns error",
        "The store at {url} cannot be reached{over}; check the network and HEADWATER_LAKE_OPTIONS__AWS_ENDPOINT_URL",
    ),
    (
        r"[Nn]o space left|File too large|Disk quota|Read-only file system",
        "The store at {url} cannot be written ({system}); make room there",
    ),
    (
        r"NoSuchKey|NotFound|No such file",
        "Something that the store at {url} should hold is missing ({missing}); `headwater lake check` lists all such",
    ),
)


def explain(url: str, error: Exception) -> str | None:
    """What happened and what to do, with the store's URL and without any secret; None where no store is at fault."""
    if not _is_of_a_store(error):
        return None
    said = re.sub(r"\x1b\[\d+m|↳", " ", f"{type(error).__name__}: {error}")
    for pattern, sentence in _CASES:
        if re.search(pattern, said):
            return sentence.format(url=url, **_parts(said)) + "."
    return f"The store at {url} failed: {' '.join(said.split('Debug source')[0].split())[:300].rstrip('.')}."


def _is_of_a_store(error: Exception) -> bool:
    if isinstance(error, OSError):  # polars and deltalake raise these
        return True
    module = type(error).__module__
    if module.startswith("obstore"):
        return True
    # A DeltaError is about the table, unless it tells of the store below
    of_store = r"Generic (S3|GCS|MicrosoftAzure|LocalFileSystem) error|Could not create local directory"
    return isinstance(error, DeltaError) and bool(re.search(of_store, str(error)))


def _parts(said: str) -> dict[str, str]:
    def first(pattern: str, default: str) -> str:
        found = re.search(pattern, said)
        return found.group(1).strip() if found else default

    endpoint = first(r"(https?://[^/\s]+)", "")
    return {
        "code": first(r"<Code>(\w+)</Code>", first(r"(\b40[13] \w+)", "access denied")),
        "over": f" over {endpoint}" if endpoint else "",
        "system": first(r"([A-Z][a-z -]+) \(os error", "write error"),
        "missing": first(
            r"Object at location (.+?) not found", first(r"\(os error 2\): ([^\n]+)", "a file of one of its tables")
        ),
    }
