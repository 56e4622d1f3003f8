"""Drift: what the champion sees in a window against what it saw in training, and who is asked about it.

windows       which windows are held against each other
statistics    distances, their ranks, and what they promise
verdict       one family, one threshold
rows          samples of the training snapshot and of the days in question
quality       what is missing, out of range or new
performance   errors, once labels are known
evidently     Evidently's page
page          the report as one small file
picture       what a person who is asked sees at once
reports       all of it for a window
budget        when people are asked
incidents     what they were asked, and what they said
review        the question to a person
"""

from __future__ import annotations

from models.drift.reports import newest, report
from models.drift.rows import MOST_ROWS, VOLUME

__all__ = ["MOST_ROWS", "VOLUME", "newest", "report"]
