"""The batches of a series, and its rows in order of time, in buffers that grow: what `forecasting.panel` views."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_Array = TypeVar("_Array", FloatArray, IntArray)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Form(NamedTuple):
    """What batches say beside their rows; few differ."""

    freq: str
    calendar: str
    unit: str
    source: str
    names: tuple[str, ...]


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

    @property
    def form(self) -> Form:
        """What it says beside its rows."""
        return Form(self.freq, self.calendar, self.unit, self.source, tuple(self.columns))


class Batches:
    """All batches of a series in log order, their rows in buffers that they share: a batch of one row costs a row.

    Attributes:
        ascending: How many of the first batches each begin behind all rows before them: their rows are in order of
            time as they stand.
    """

    def __init__(self) -> None:
        self.ascending = 0
        self._offsets, self._received, self._ends = array("q"), array("q"), array("q")
        self._form_of = array("I")
        self._forms: list[Form] = []
        self._form_numbers: dict[Form, int] = {}
        #: Column name -> number of the first batch that has it.
        self._first_with: dict[str, int] = {}
        self._time: IntArray = np.empty(0, dtype=np.int64)
        self._columns: dict[str, FloatArray] = {}

    def __len__(self) -> int:
        return len(self._offsets)

    def append(self, batch: Batch) -> None:
        """Add the next batch, at least one row."""
        start = self.end(len(self))
        end = start + len(batch.time)
        if end > len(self._time):
            room = end if start == 0 else end + end // 2
            self._time = _grown(self._time, start, room)
            self._columns = {name: _grown(values, start, room) for name, values in self._columns.items()}
        for name in batch.columns:
            if name not in self._columns:
                self._columns[name] = np.full(len(self._time), np.nan)
                self._first_with[name] = len(self)
        if self.ascending == len(self) and (start == 0 or int(batch.time[0]) > int(self._time[start - 1])):
            self.ascending += 1
        self._time[start:end] = batch.time
        for name, kept in self._columns.items():
            kept[start:end] = batch.columns.get(name, np.nan)
        self._offsets.append(batch.offset)
        self._received.append((batch.received_at - _EPOCH) // _MICROSECOND)
        self._ends.append(end)
        number = self._form_numbers.setdefault(batch.form, len(self._forms))
        if number == len(self._forms):
            self._forms.append(batch.form)
        self._form_of.append(number)

    def end(self, count: int) -> int:
        """Return how many rows the first ``count`` batches have."""
        return self._ends[count - 1] if count else 0

    def offset(self, number: int) -> int:
        """Return the offset of a batch."""
        return self._offsets[number]

    def before(self, offset: int) -> int:
        """Return how many batches stand below an offset."""
        return bisect_left(self._offsets, offset)

    def received_at(self, number: int) -> datetime:
        """Return when a batch was received (UTC)."""
        return _EPOCH + timedelta(microseconds=self._received[number])

    def received_by(self, time: datetime, count: int) -> IntArray:
        """Return the numbers of those of the first ``count`` batches that were received at or before ``time``."""
        # A copy: an array that lends its memory cannot grow.
        return np.flatnonzero(np.array(self._received[:count]) <= (time - _EPOCH) // _MICROSECOND)

    def since(self, time: datetime) -> Iterator[Batch]:
        """Yield the batches that were received at ``time`` or later."""
        for number in np.flatnonzero(np.array(self._received) >= (time - _EPOCH) // _MICROSECOND):
            yield self.batch(int(number))

    def form(self, number: int) -> Form:
        """Return what a batch says beside its rows."""
        return self._forms[self._form_of[number]]

    def batch(self, number: int) -> Batch:
        """Return a batch; its arrays share our memory and cannot be written."""
        start, end, form = self.end(number), self._ends[number], self.form(number)
        return Batch(
            offset=self._offsets[number],
            received_at=self.received_at(number),
            freq=form.freq,
            calendar=form.calendar,
            unit=form.unit,
            source=form.source,
            time=read_only(self._time[start:end]),
            columns={name: read_only(self._columns[name][start:end]) for name in form.names},
        )

    def rows(self, count: int) -> tuple[IntArray, dict[str, FloatArray]]:
        """Return the rows of the first ``count`` batches in log order; they share our memory."""
        end = self.end(count)
        columns = {name: self._columns[name][:end] for name, first in self._first_with.items() if first < count}
        return self._time[:end], columns

    def rows_of(self, numbers: IntArray) -> tuple[IntArray, dict[str, FloatArray]]:
        """Return the rows of some batches in log order, copied."""
        wanted = np.concatenate([np.arange(self.end(number), self._ends[number]) for number in numbers.tolist()])
        names = dict.fromkeys(name for number in numbers.tolist() for name in self.form(number).names)
        return self._time[wanted], {name: self._columns[name][wanted] for name in names}


class Rows:
    """Rows in time order in buffers with room to grow, so that one more row costs no copy.

    Views of the first rows stay true for ever: rows are only added behind them, and anything else starts new buffers.

    Args:
        time: Of rows in log order.
        columns: Their values.
    """

    def __init__(self, time: IntArray, columns: dict[str, FloatArray]) -> None:
        # A stable sort keeps log order among equal times; the last of each is the latest record.
        order = np.argsort(time, kind="stable")
        ordered = time[order]
        keep = order[np.append(ordered[1:] != ordered[:-1], [True])] if len(ordered) else order
        self.size = len(keep)
        self.time = time[keep]
        self.columns = {name: values[keep] for name, values in columns.items()}

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
            room = size + size // 2
            self.time = _grown(self.time, self.size, room)
            self.columns = {name: _grown(values, self.size, room) for name, values in self.columns.items()}
        self.time[self.size : size] = batch.time
        for name, values in self.columns.items():
            values[self.size : size] = batch.columns.get(name, np.nan)
        self.size = size


def read_only(values: _Array) -> _Array:
    """Return a slice that cannot be written."""
    values.flags.writeable = False
    return values


def _grown(values: _Array, size: int, room: int) -> _Array:
    grown = np.empty(room, dtype=values.dtype)
    grown[:size] = values[:size]
    return grown


def times_of(times: Sequence[datetime]) -> IntArray:
    """Return times in seconds since 1970."""
    return np.fromiter(map(datetime.timestamp, times), dtype=np.float64, count=len(times)).astype(np.int64)
