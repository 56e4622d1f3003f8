"""What is worth a look about a column's month: rules on its figures and those of the months before."""

from __future__ import annotations

from statistics import median

from pipelines.audit_columns import Column, Stats

LEAST_VALUES = 20
"""Values that a month must have for its figures to speak."""
LEAST_MONTHS = 6
FAR = 5.0
"""Robust standard deviations between months from which a month's mean is worth a look."""
FLOOR = 0.05
"""Of the column's standard deviation: less than that is no shift, however alike the months before were."""
NULLS_MORE = 0.05
WIDER = 4.0


def notes(column: Column) -> list[tuple[str, str]]:
    """What is odd about a column's month, as (bad or look, sentence); rules in docs/data.md."""
    now, before, found = column.now, column.before, []
    if now.odd:
        found.append(("bad", f"{now.odd} values are not finite"))
    if now.outside:
        found.append(("bad", f"{now.outside} values are outside of {column.limits}"))
    if now.rows and not now.values and before.values:
        found.append(("bad", "empty in the whole month, and not before"))
    found += [
        ("look", said) for said in (_emptier(column), _constant(column), _shifted(column), _spread(column)) if said
    ]
    return found


def _speaking(column: Column) -> list[Stats]:
    return [month for month in column.months if month.values - month.odd >= LEAST_VALUES]


def _emptier(column: Column) -> str | None:
    shares = [
        month.null_share for month in column.months if month.null_share is not None and month.rows >= LEAST_VALUES
    ]
    now = column.now.null_share
    if now is None or not shares or not column.now.values or now <= max(shares) + NULLS_MORE:
        return None
    return f"empty in {now:.0%} of the rows, and in at most {max(shares):.0%} in any month before"


def _constant(column: Column) -> str | None:
    """Not so where a month before was constant, too: of a season without snow."""
    now, months = column.now, _speaking(column)
    is_constant = now.values >= LEAST_VALUES and now.low is not None and now.low == now.high
    varied = bool(months) and all(month.low != month.high for month in months)
    return f"always {now.low:g}, and in no month before" if is_constant and varied else None


def _shifted(column: Column) -> str | None:
    """By the median and the median absolute deviation of the monthly means, which one odd month does not move."""
    means = [month.mean for month in _speaking(column) if month.mean is not None]
    now = column.now
    if now.mean is None or now.values < LEAST_VALUES or len(means) < LEAST_MONTHS:
        return None
    middle = median(means)
    spread = 1.4826 * median(abs(mean - middle) for mean in means)
    unit = max(spread, FLOOR * (column.before.std or 0.0))
    apart = abs(now.mean - middle)
    if not unit or apart <= FAR * unit:
        return None
    return f"mean {now.mean:.4g} is {apart / unit:.0f} robust deviations from {middle:.4g}, the usual month's"


def _spread(column: Column) -> str | None:
    stds = [month.std for month in _speaking(column) if month.std]
    now = column.now
    if not now.std or now.values < LEAST_VALUES or len(stds) < LEAST_MONTHS or column.type == "boolean":
        return None
    ratio = now.std / median(stds)
    if 1 / WIDER <= ratio <= WIDER:
        return None
    return f"standard deviation {now.std:.4g} is {ratio:.2g} times the usual month's"
