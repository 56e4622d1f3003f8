"""moto's S3 as a process of its own; run as `python tests/object_store.py -H HOST -p PORT`.

moto looks whether an object is there and writes it in two steps, so that of two writers at once both may be told that
they were first, and the commit of one is lost. S3 does it in one, and so does this.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from moto.s3.responses import S3Response
from moto.server import main

_one_at_a_time = threading.Lock()
_put_object = S3Response.put_object


@functools.wraps(_put_object)
def _put_atomically(response: S3Response) -> Any:
    with _one_at_a_time:
        return _put_object(response)


if __name__ == "__main__":
    S3Response.put_object = _put_atomically  # type: ignore[method-assign]
    main()
