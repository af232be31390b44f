"""What a series would have been: cut off at a time, or with another future. For audits.

A forecast may depend on a row beyond the cutoff only through a column that was declared known in the future. So where
such columns are kept, everything else beyond the cutoff can be taken away or replaced, and nothing may change.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from forecasting.panel import FloatArray, Observations

#: By how much, up or down; and the power that changes ratios between columns but not their order.
_FACTOR, _POWERS = 1e6, (0.5, 2.0)
_MISSING_SHARE = 0.2


def truncated(observations: Observations, cutoff: int, known: Collection[str]) -> Observations:
    """Return what was known at a cutoff: all rows up to it, and beyond it the ``known`` columns alone.

    Args:
        observations: A series.
        cutoff: UTC seconds since 1970.
        known: Columns declared known in the future, or constant.
    """
    end = int(np.searchsorted(observations.time, cutoff, side="right"))
    if not known:
        return observations.slice(0, end)
    columns = {name: values.copy() for name, values in observations.columns.items()}
    for name in columns.keys() - set(known):
        columns[name][end:] = np.nan
    return _with(observations, columns)


def wild(
    observations: Observations, cutoff: int, known: Collection[str], rng: np.random.Generator, *, has_missing: bool
) -> Observations:
    """Return the series with another future: values a million times as large or small, or of the other sign.

    What holds in every row of a column still holds, since a series that breaks it is another kind of series: positive
    columns stay positive, and in one row the order of positive columns stays (high above low).

    Args:
        observations: A series.
        cutoff: UTC seconds since 1970; rows up to it keep their values.
        known: Columns that keep theirs.
        rng: Decides.
        has_missing: Whether some of the values are taken away instead.
    """
    end = int(np.searchsorted(observations.time, cutoff, side="right"))
    rows = len(observations) - end
    factor, power = _FACTOR ** rng.choice((-1.0, 1.0), rows), rng.choice(_POWERS, rows)
    sign = rng.choice((-1.0, 1.0), rows)
    missing = rng.random(rows) < _MISSING_SHARE
    columns = {name: values.copy() for name, values in observations.columns.items()}
    for name in sorted(columns.keys() - set(known)):
        future = columns[name][end:]
        if _is_never_negative(columns[name]):
            future[:] = factor * future**power
        else:
            future[:] = sign * _FACTOR * (np.abs(future) + 1.0)
        if has_missing:
            future[missing] = np.nan
    return _with(observations, columns)


def _is_never_negative(values: FloatArray) -> bool:
    return bool((values[np.isfinite(values)] >= 0).all())


def _with(observations: Observations, columns: dict[str, FloatArray]) -> Observations:
    return Observations(
        series_id=observations.series_id,
        freq=observations.freq,
        calendar=observations.calendar,
        unit=observations.unit,
        source=observations.source,
        time=observations.time,
        columns=columns,
        newest_offset=observations.newest_offset,
    )
