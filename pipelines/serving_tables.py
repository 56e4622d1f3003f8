"""Partitions of `serving.predictions`, which `pipelines/schema/0005_serving.sql` describes.

The standard library only: a Bento holds this as well.
"""

from __future__ import annotations

from datetime import date
from typing import Any


def make_partition(cursor: Any, use_case: str, day: date) -> None:
    """Makes the partition of the served rows of a use case and a day (UTC) where it is missing."""
    cursor.execute("select serving.make_partition(%s, %s)", (use_case, day))
