"""The latest view of a series, folded from its observation batches by log order."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.errors import InvalidObservations, TooLittleHistory
from forecasting.gaps import SKIP, Gaps, filled, filled_to_the_end
from forecasting.panel_rows import Batch, Batches, Form, Rows, read_only, times_of
from schemas.observations import ObservationBatch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: Views kept a series: requests of one moment pin few different offsets.
_KEPT_VIEWS = 4
#: Of a digest: 128 bits.
_DIGEST_DIGITS = 32


@dataclass(frozen=True, kw_only=True)
class Observations:
    """A series as it is known at some point of the log; the arrays are read-only.

    Attributes:
        series_id: Stable key, e.g. ``market/AAPL@1d``.
        freq: Length of one observation, e.g. ``1d``.
        calendar: Exchange calendar code, or ``24/7``.
        unit: Unit of the price columns; empty when the source does not say.
        source: Name of the data source of the newest batch used.
        time: UTC starts in seconds since 1970, strictly ascending, shape (n,).
        columns: Column name -> values, shape (n,); NaN is a missing value.
        newest_offset: Offset of the newest batch used; -1 when there is none.
    """

    series_id: str
    freq: str
    calendar: str
    unit: str
    source: str
    time: IntArray
    columns: dict[str, FloatArray]
    newest_offset: int

    def __len__(self) -> int:
        return len(self.time)

    def last(self, rows: int) -> Observations:
        """Return the newest ``rows`` rows, or all where there are fewer."""
        start = max(len(self.time) - rows, 0)
        return self.slice(start, len(self.time))

    def slice(self, start: int, end: int) -> Observations:
        """Return the rows [start, end), sharing memory."""
        return Observations(
            series_id=self.series_id,
            freq=self.freq,
            calendar=self.calendar,
            unit=self.unit,
            source=self.source,
            time=self.time[start:end],
            columns={name: values[start:end] for name, values in self.columns.items()},
            newest_offset=self.newest_offset,
        )

    def matrix(self, columns: Sequence[str]) -> FloatArray:
        """Return the named columns beside each other, shape (n, len(columns)).

        Raises:
            InvalidObservations: ``unknown-column``: the series has no such column.
        """
        for name in columns:
            if name not in self.columns:
                raise InvalidObservations(
                    "unknown-column",
                    field="columns",
                    expected=f"columns of {self.series_id}: {', '.join(sorted(self.columns)) or 'it has none'}",
                    found=repr(name),
                )
        return np.column_stack([self.columns[name] for name in columns])


class Future(NamedTuple):
    """What is known at the cutoff about the steps: only columns that were declared known in the future.

    Attributes:
        time: UTC starts of the steps in seconds since 1970, shape (steps,); ``None``: those of the calendar.
        values: Raw values in the order of the recipe's ``future_columns``, shape (steps, columns).
    """

    time: IntArray | None
    values: FloatArray


class Window(NamedTuple):
    """The newest complete rows of a series, and what is known about the steps after them.

    Attributes:
        values: Raw values, oldest first, shape (rows, columns).
        cutoff: Time of the last row (UTC); ``None`` where nobody said.
        time: UTC starts of the rows in seconds since 1970, shape (rows,); ``None`` where nobody said.
        future: Of the steps; ``None`` where nothing about them is known.
    """

    values: FloatArray
    cutoff: datetime | None = None
    time: IntArray | None = None
    future: Future | None = None

    def last(self, rows: int) -> Window:
        """Return the newest ``rows`` rows, or all where there are fewer."""
        time = None if self.time is None else self.time[-rows:]
        return Window(self.values[-rows:], self.cutoff, time, self.future)


def window_of(
    observations: Observations,
    columns: Sequence[str],
    rows: int,
    future_columns: Sequence[str] = (),
    gaps: Gaps = SKIP,
    *,
    least: int | None = None,
) -> Window:
    """Return the last ``rows`` rows in which every one of ``columns`` has a value, gaps treated by the rule.

    By the rule `skip` rows with a missing value are passed over. Rows after the last one of the window in which every
    one of ``future_columns`` has a value are the known future.

    Args:
        observations: The series as it is known.
        columns: Whose values a row needs.
        rows: How many rows.
        future_columns: Whose values after the last row are told.
        gaps: The rule.
        least: Fewer rows that will do where there are no more; ``None``: all of them are needed.

    Raises:
        InvalidObservations: ``unknown-column``, ``missing-observations``, ``too-many-gaps``.
        TooLittleHistory: There are fewer complete rows.
        CalendarError: By other rules than `skip`: an unknown calendar or freq.
    """
    # Rarely is a row incomplete: look at a short tail first, and at everything only when that is not enough.
    least = rows if least is None else least
    for tail in (observations.last(2 * rows), observations):
        whole = filled(tail, columns, gaps)
        values = whole.matrix(columns)
        complete = np.flatnonzero(np.isfinite(values).all(axis=1))
        if len(complete) >= (least if tail is observations else rows):
            chosen = complete[-rows:]
            return Window(
                values[chosen],
                datetime.fromtimestamp(int(whole.time[chosen[-1]]), UTC),
                whole.time[chosen],
                _future_of(observations, int(whole.time[chosen[-1]]), future_columns, gaps),
            )
    raise TooLittleHistory(
        "too-little-history",
        field="observations",
        expected=f"at least {least} rows of {observations.series_id} with a value in {', '.join(columns)}",
        found=f"{len(complete)} of {len(observations)}",
        advice="load more history or use a model with a smaller window_size",
    )


def _future_of(observations: Observations, cutoff: int, future_columns: Sequence[str], gaps: Gaps) -> Future | None:
    """Return the rows after ``cutoff`` that say something of the future; ``None`` where no row or column does."""
    if not future_columns:
        return None
    # From the row of the cutoff on, so that a row that is missing right after it is seen to be.
    beyond = observations.slice(int(np.searchsorted(observations.time, cutoff)), len(observations))
    beyond = filled_to_the_end(beyond, future_columns, gaps)
    values = beyond.matrix(future_columns)
    known = np.isfinite(values).all(axis=1) & (beyond.time > cutoff)
    return Future(beyond.time[known], values[known]) if known.any() else None


def complete_rows(observations: Observations, columns: Sequence[str]) -> Observations:
    """Return only the rows in which every one of ``columns`` has a value."""
    complete = np.isfinite(observations.matrix(columns)).all(axis=1)
    if complete.all():
        return observations
    return Observations(
        series_id=observations.series_id,
        freq=observations.freq,
        calendar=observations.calendar,
        unit=observations.unit,
        source=observations.source,
        time=observations.time[complete],
        columns={name: values[complete] for name, values in observations.columns.items()},
        newest_offset=observations.newest_offset,
    )


class SeriesHistory:
    """All batches of one series by offset, and the view of it at any prefix of the log.

    The latest record that names a time is the one that counts, whole row by whole row. A batch with the digest of an
    earlier one is a repeat of the same fact and changes nothing, wherever it stands.
    """

    def __init__(self, series_id: str) -> None:
        self.series_id = series_id
        self._batches = Batches()
        #: The first half of each: as sure to differ as the whole, at a third of its size.
        self._digests: set[int] = set()
        self._offset = -1
        #: The rows of all batches, where they are not in order of time as they stand.
        self._rows: Rows | None = None
        #: Row counts after each batch since the buffers were started: the views of those prefixes are their first rows.
        self._first_prefix = 0
        self._sizes = array("q")
        self._views: dict[int, Observations] = {}

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def newest_offset(self) -> int:
        """Offset of the newest batch that counts; -1 when there is none."""
        return self._batches.offset(len(self._batches) - 1) if self._batches else -1

    def append(self, offset: int, batch: ObservationBatch) -> bool:
        """Learn the batch at ``offset``; return whether it says something new.

        An offset that was already learned (a redelivery) and a repeated digest change nothing.

        Raises:
            ValueError: The batch is of another series: a mistake in the caller.
        """
        if batch.series_id != self.series_id:
            raise ValueError(f"batch must be of {self.series_id}, was of {batch.series_id}")
        if offset <= self._offset:
            return False
        self._offset = offset
        digest = int(batch.digest[:_DIGEST_DIGITS], 16)
        if digest in self._digests:
            return False
        self._digests.add(digest)
        learned = Batch(
            offset=offset,
            received_at=batch.received_at,
            freq=batch.freq,
            calendar=batch.calendar,
            unit=batch.unit,
            source=batch.source,
            time=times_of(batch.time),
            # None becomes NaN.
            columns={name: np.array(values, dtype=np.float64) for name, values in batch.columns.items()},
        )
        self._batches.append(learned)
        self._views.clear()
        if self._rows is not None and self._rows.is_tail(learned):
            self._rows.extend(learned)
            self._sizes.append(self._rows.size)
        else:
            self._rows = None
        return True

    def received_since(self, time: datetime) -> tuple[Batch, ...]:
        """Return the batches that were received at ``time`` (UTC) or later, in log order, whatever replaced them."""
        return tuple(self._batches.since(time))

    def view(
        self, before_offset: int | None = None, rows: int | None = None, *, known_at: datetime | None = None
    ) -> Observations:
        """Return the series as it was known at a point of the log.

        Args:
            before_offset: End offset, exclusive; ``None`` is everything learned.
            rows: Only the newest rows; ``None`` is all.
            known_at: Only batches that were received at or before this time (UTC); ``None`` is all.

        Raises:
            InvalidObservations: ``no-observations``: nothing was known at that point.
        """
        count = len(self._batches)
        if before_offset is not None:
            count = self._batches.before(before_offset)
        if known_at is not None:
            received = self._batches.received_by(known_at, count)
            if len(received) and received[-1] != len(received) - 1:
                # A clock was set back, or held rows were released: those received are no prefix of the log.
                kept = Rows(*self._batches.rows_of(received))
                other = self._observations(int(received[-1]), kept.time, kept.columns, kept.size)
                return other if rows is None else other.last(rows)
            count = len(received)
        if count == 0:
            raise self._nothing_known(before_offset, known_at)
        view = self._views.get(count)
        if view is None:
            view = self._view_of(count)
            if len(self._views) >= _KEPT_VIEWS:
                self._views.clear()
            self._views[count] = view
        return view if rows is None else view.last(rows)

    def _view_of(self, count: int) -> Observations:
        if count <= self._batches.ascending:
            time, columns = self._batches.rows(count)
            return self._observations(count - 1, time, columns, len(time))
        if count == len(self._batches) and self._rows is None:
            self._rows = Rows(*self._batches.rows(count))
            self._first_prefix = count
            self._sizes = array("q", [self._rows.size])
        if self._rows is not None and count >= self._first_prefix:
            kept, size = self._rows, self._sizes[count - self._first_prefix]
        else:
            kept = Rows(*self._batches.rows(count))
            size = kept.size
        return self._observations(count - 1, kept.time, kept.columns, size)

    def _observations(self, newest: int, time: IntArray, columns: dict[str, FloatArray], size: int) -> Observations:
        """Return the first ``size`` rows, as known when the batch number ``newest`` was the newest one."""
        form: Form = self._batches.form(newest)
        return Observations(
            series_id=self.series_id,
            freq=form.freq,
            calendar=form.calendar,
            unit=form.unit,
            source=form.source,
            time=read_only(time[:size]),
            columns={name: read_only(values[:size]) for name, values in columns.items()},
            newest_offset=self._batches.offset(newest),
        )

    def _nothing_known(self, before_offset: int | None, known_at: datetime | None) -> InvalidObservations:
        first = self._batches.batch(0) if self._batches else None
        if known_at is not None and (before_offset is None or first is None or first.offset < before_offset):
            return InvalidObservations(
                "no-observations",
                field="known_at",
                expected=f"a time at which an observation of {self.series_id} had been received",
                found=f"{known_at}, and the first one was received {first.received_at if first else 'never'}",
            )
        return InvalidObservations(
            "no-observations",
            field="before_offset",
            expected=f"beyond an observation of {self.series_id}",
            found=f"{before_offset}, and the first one has offset {first.offset if first else 'none'}",
        )
