"""The rows of a series in buffers that grow: what `forecasting.panel` makes its views of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_Array = TypeVar("_Array", FloatArray, IntArray)


@dataclass(frozen=True)
class Batch:
    """An observation batch as arrays, and where it stands in the log."""

    offset: int
    received_at: datetime
    freq: str
    calendar: str
    unit: str
    source: str
    time: IntArray
    columns: dict[str, FloatArray]


class Rows:
    """Rows in time order in buffers with room to grow, so that one more row costs no copy.

    Views of the first rows stay true for ever: rows are only added behind them, and anything else starts new buffers.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        time = np.concatenate([batch.time for batch in batches])
        names = dict.fromkeys(name for batch in batches for name in batch.columns)
        # A stable sort keeps log order among equal times; the last of each is the latest record.
        order = np.argsort(time, kind="stable")
        ordered = time[order]
        keep = order[np.append(ordered[1:] != ordered[:-1], [True])] if len(ordered) else order
        self.size = len(keep)
        self.time = time[keep]
        self.columns = {name: np.concatenate([_column(batch, name) for batch in batches])[keep] for name in names}

    def is_tail(self, batch: Batch) -> bool:
        """Return whether ``batch`` only adds rows behind ours, in columns that we have."""
        return (
            self.size > 0
            and int(batch.time[0]) > int(self.time[self.size - 1])
            and batch.columns.keys() <= self.columns.keys()
        )

    def extend(self, batch: Batch) -> None:
        """Add a batch for which `is_tail` holds."""
        size = self.size + len(batch.time)
        if size > len(self.time):
            room = max(2 * len(self.time), size)
            self.time = _grown(self.time, self.size, room)
            self.columns = {name: _grown(values, self.size, room) for name, values in self.columns.items()}
        self.time[self.size : size] = batch.time
        for name, values in self.columns.items():
            values[self.size : size] = _column(batch, name)
        self.size = size


def _column(batch: Batch, name: str) -> FloatArray:
    values = batch.columns.get(name)
    return np.full(len(batch.time), np.nan) if values is None else values


def _grown(values: _Array, size: int, room: int) -> _Array:
    grown = np.empty(room, dtype=values.dtype)
    grown[:size] = values[:size]
    return grown
