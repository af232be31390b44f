"""The observations that a training may use: its series, up to the offsets that its request pins."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from forecasting.errors import InvalidTraining
from forecasting.panel import Observations, SeriesHistory
from runtime.broker import Broker, Message, TopicPartition, partition_for
from schemas.codec import decode
from schemas.errors import InvalidRecord
from schemas.observations import ObservationBatch
from schemas.topics import OBSERVATIONS
from schemas.trainings import TrainingRequested

_LOG = structlog.get_logger()
#: How long one look at the broker waits for messages.
_POLL_SECONDS = 1.0


def read_observations(
    broker: Broker, request: TrainingRequested, *, topic_prefix: str, max_rows: int
) -> list[Observations]:
    """Return the series of ``request`` in its order, each as it stood at the pinned offset.

    Only the partitions of these series are read, and of other series nothing but the key is looked at. Memory: about
    120 bytes a row and column while a series is put together, so ``max_rows`` bounds it.

    Raises:
        InvalidTraining: ``unknown-series``, ``as-of-missing``, ``as-of-beyond-log`` or ``too-many-observations``.
        TransientError: The broker cannot be read now.
    """
    topic = OBSERVATIONS.full_name(topic_prefix)
    ends = _pinned_ends(broker, request, topic)
    histories = {series_id.encode(): SeriesHistory(series_id) for series_id in request.series_ids}
    rows = 0
    reader = broker.reader(dict.fromkeys((TopicPartition(topic, partition) for partition in ends), 0))
    try:
        while any(reader.position(TopicPartition(topic, partition)) < end for partition, end in ends.items()):
            for message in reader.poll(_POLL_SECONDS):
                history = histories.get(message.key or b"")
                if history is not None and message.offset < ends[message.partition]:
                    rows += _take(message, history)
                    _require_rows(rows, max_rows)
    finally:
        reader.close()
    for history in histories.values():
        if not len(history):
            partition = partition_for(history.series_id.encode(), broker.partitions(topic))
            raise InvalidTraining(
                "unknown-series",
                field="series_ids",
                expected=f"series with observations before offset {ends[partition]} of partition {partition}",
                found=repr(history.series_id),
                advice="ingest it first",
            )
    return [history.view() for history in histories.values()]


def _pinned_ends(broker: Broker, request: TrainingRequested, topic: str) -> Mapping[int, int]:
    """Return the end offset of each partition that holds a series of the request."""
    count = broker.partitions(topic)
    needed = {partition_for(series_id.encode(), count): series_id for series_id in request.series_ids}
    for partition, series_id in needed.items():
        if str(partition) not in request.as_of:
            raise InvalidTraining(
                "as-of-missing",
                field="as_of",
                expected=f"an end offset for partition {partition}, which holds {series_id}",
                found=f"partitions {', '.join(sorted(request.as_of)) or 'none'}",
            )
    ends = {partition: request.as_of[str(partition)] for partition in needed}
    written = broker.end_offsets(TopicPartition(topic, partition) for partition in ends)
    for partition, end in ends.items():
        if end > written[TopicPartition(topic, partition)]:
            raise InvalidTraining(
                "as-of-beyond-log",
                field="as_of",
                expected=f"at most {written[TopicPartition(topic, partition)]}, the end of partition {partition}",
                found=str(end),
            )
    return ends


def _take(message: Message, history: SeriesHistory) -> int:
    """Learn one message and return how many rows it brought; the ingestor answers for junk, so it is passed over."""
    try:
        batch = decode(OBSERVATIONS, message.value, message.headers).record
    except InvalidRecord as error:
        _LOG.warning("invalid_observations", partition=message.partition, offset=message.offset, reason=error.reason)
        return 0
    if not isinstance(batch, ObservationBatch) or batch.series_id != history.series_id:
        return 0
    return len(batch.time) if history.append(message.offset, batch) else 0


def _require_rows(rows: int, max_rows: int) -> None:
    if rows > max_rows:
        raise InvalidTraining(
            "too-many-observations",
            field="series_ids",
            expected=f"series of at most {max_rows} rows together",
            found=f"at least {rows}",
            advice="train on fewer series or raise FORETOPIC_TRAINER_MAX_ROWS",
        )
