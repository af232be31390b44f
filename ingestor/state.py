"""What the ingestor knows of its partitions: the series, what is held back of them, and which requests have ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from forecasting.errors import InvalidObservations
from forecasting.panel import Observations, SeriesHistory
from ingestor.quarantine import Held
from ingestor.sources import SourceFrame
from runtime.incoming import Incoming
from schemas.ingests import IngestEvent
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided


class IngestLog:
    """Learns from `observations`, `ingest-events` and `quarantine`; a partition can be forgotten and learned again."""

    def __init__(self) -> None:
        self._series: dict[int, dict[str, SeriesHistory]] = {}
        self._ended: dict[int, set[str]] = {}
        self._progress: dict[int, dict[str, IngestEvent]] = {}
        self._held: dict[int, dict[str, Held]] = {}

    def learn(self, incoming: Incoming) -> None:
        """Take in a record of the log."""
        partition, record = incoming.message.partition, incoming.record
        if isinstance(record, ObservationBatch):
            histories = self._series.setdefault(partition, {})
            history = histories.setdefault(record.series_id, SeriesHistory(record.series_id))
            history.append(incoming.message.offset, record)
        elif isinstance(record, IngestEvent):
            progress = self._progress.setdefault(partition, {})
            if record.state != "running":
                self._ended.setdefault(partition, set()).add(record.ingest_id)
                progress.pop(record.ingest_id, None)
            elif record.fraction > 0 and not self.has_ended(partition, record.ingest_id):
                progress[record.ingest_id] = record
        elif isinstance(record, ObservationsQuarantined | QuarantineDecided):
            of_partition = self._held.setdefault(partition, {})
            of_partition.setdefault(record.series_id, Held()).learn(record)

    def forget(self, partitions: Iterable[int]) -> None:
        """Drop all that is known of these partitions."""
        for partition in partitions:
            self._series.pop(partition, None)
            self._ended.pop(partition, None)
            self._progress.pop(partition, None)
            self._held.pop(partition, None)

    def has_ended(self, partition: int, ingest_id: str) -> bool:
        """Return whether the log has the final event of an ingest."""
        return ingest_id in self._ended.get(partition, ())

    def progress(self, partition: int, ingest_id: str) -> IngestEvent | None:
        """Return how far an ingest that has not ended has come; ``None`` when nothing of it stands in the log."""
        return self._progress.get(partition, {}).get(ingest_id)

    def known(self, partition: int, series_id: str) -> Observations | None:
        """Return the latest view of a series; ``None`` when the log has none."""
        history = self._series.get(partition, {}).get(series_id)
        return None if history is None or len(history) == 0 else history.view()

    def view(self, partition: int, series_id: str, before_offset: int | None = None) -> Observations | None:
        """Return a series as it was known below an offset; ``None`` when the log had none."""
        history = self._series.get(partition, {}).get(series_id)
        try:
            return None if history is None else history.view(before_offset)
        except InvalidObservations:
            return None

    def received_since(self, partition: int, series_id: str, time: datetime) -> list[SourceFrame]:
        """Return the rows of a series that were published since ``time`` (UTC), whatever replaced them later."""
        history = self._series.get(partition, {}).get(series_id)
        return (
            []
            if history is None
            else [
                SourceFrame(source=batch.source, unit=batch.unit, time=batch.time, columns=batch.columns)
                for batch in history.received_since(time)
            ]
        )

    def held(self, partition: int, series_id: str) -> Held:
        """Return what is held back of a series."""
        return self._held.get(partition, {}).get(series_id) or Held()
