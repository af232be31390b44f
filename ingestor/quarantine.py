"""What is held back of a series, and what becomes of it: published once it is released, never asked twice about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import numpy as np

from forecasting.panel import Observations
from ingestor.core import TOLERANCE, Series, plan
from ingestor.judging import Mask
from ingestor.sources import SourceFrame
from schemas.identity import content_id
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided, RuleBroken

Records = tuple[ObservationsQuarantined, ...]


class Held:
    """The held batches of one series and the decisions about them, as the log tells them."""

    def __init__(self) -> None:
        self._held: dict[str, ObservationsQuarantined] = {}
        self._frames: dict[str, SourceFrame] = {}
        self._decisions: dict[str, QuarantineDecided] = {}

    def learn(self, record: ObservationsQuarantined | QuarantineDecided) -> None:
        """Take in a record; the first of an id counts."""
        if isinstance(record, QuarantineDecided):
            self._decisions.setdefault(record.quarantine_id, record)
        else:
            self._held.setdefault(record.quarantine_id, record)
            self._frames.setdefault(record.quarantine_id, frame_of(record.batch))

    def get(self, quarantine_id: str) -> ObservationsQuarantined | None:
        """Return a held batch, whatever was decided about it."""
        return self._held.get(quarantine_id)

    def counts(self, decision: QuarantineDecided) -> bool:
        """Return whether this is the decision that counts: the first one about its batch."""
        first = self._decisions.get(decision.quarantine_id)
        return first is None or first.decision_id == decision.decision_id

    def has(self, frame: SourceFrame) -> Mask:
        """Return the rows of ``frame`` that are held already, or were rejected, with the same values."""
        has: Mask = np.zeros(len(frame), dtype=bool)
        for quarantine_id, held in self._frames.items():
            decision = self._decisions.get(quarantine_id)
            # What was released stands in the log; should it come differently again, it is judged again.
            if decision is None or decision.decision == "reject":
                has |= _stands_in(frame, held)
        return has


def _stands_in(frame: SourceFrame, held: SourceFrame) -> Mask:
    index = np.minimum(np.searchsorted(held.time, frame.time), len(held) - 1)
    same: Mask = held.time[index] == frame.time
    if not same.any():
        return same
    for name, values in frame.columns.items():
        if name not in held.columns:
            same &= np.isnan(values)
            continue
        old = held.columns[name][index]
        near = np.abs(values - old) <= TOLERANCE * np.maximum(np.abs(values), np.abs(old))
        # A missing value was completed by what the log had.
        same &= near | np.isnan(values)
    return same


def frame_of(batch: ObservationBatch) -> SourceFrame:
    """Return the rows of a batch as a source would give them."""
    return SourceFrame(
        source=batch.source,
        unit=batch.unit,
        time=np.array([int(time.timestamp()) for time in batch.time], dtype=np.int64),
        columns={name: np.array(values, dtype=np.float64) for name, values in batch.columns.items()},
    )


def held_back(ingest_id: str, batches: Iterable[ObservationBatch], broken: tuple[RuleBroken, ...]) -> Records:
    """Return the records that hold ``batches`` back; their ids are of the ingest and the rows, so a repeat has them."""
    return tuple(
        ObservationsQuarantined(
            quarantine_id=content_id("quarantine", ingest_id, batch.series_id, batch.time, batch.columns),
            series_id=batch.series_id,
            ingest_id=ingest_id,
            batch=batch,
            broken=broken,
        )
        for batch in batches
    )


def released(
    record: ObservationsQuarantined, known: Observations | None, published: Iterable[SourceFrame], now: datetime
) -> tuple[ObservationBatch, ...]:
    """Return the batches that let held rows in, as a fetch of them alone would; those that are in are left out.

    A row is in when it was published with these values since it was held, also when it has been corrected since: a
    decision that is read again after a crash, or from the beginning of its topic, restates nothing.

    Args:
        record: What was held.
        known: The log's view of the series.
        published: What was published since then.
        now: When the rows become known (UTC).

    Raises:
        BadSourceData: The log has another unit or calendar by now.
    """
    batch, frame = record.batch, frame_of(record.batch)
    is_in: Mask = np.zeros(len(frame), dtype=bool)
    for rows in published:
        is_in |= _stands_in(frame, rows)
    series = Series(series_id=batch.series_id, freq=batch.freq, calendar=batch.calendar)
    return plan(series, known, frame.rows(~is_in), now)
