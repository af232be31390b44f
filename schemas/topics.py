"""The topics, what each carries, who writes and reads it, and how long it is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from schemas.appends import AppendRequested
from schemas.dead_letters import DeadLetter, DeadLetterDecided
from schemas.forecasts import ForecastIssued, ForecastRefused, ForecastRequestBatch, ForecastRequested
from schemas.ingests import IngestEvent, IngestRequested
from schemas.models import Deployment, ModelReleased
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided
from schemas.record import Record
from schemas.schedules import RunPlanned, SeriesScheduled
from schemas.trainings import TrainingCancelRequested, TrainingEvent, TrainingRequested

#: Kept for ever: the log is the database.
FOREVER: timedelta | None = None
PARTITIONS = 12
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic of the contract.

    Attributes:
        name: Name without the installation's prefix, lower-case-with-hyphens.
        records: Record type -> major version, of all that the topic carries.
        key: The Kafka key of a record; Kafka's default partitioner (murmur2) turns it into a partition.
        retention: How long messages are kept; ``None`` is for ever.
        key_description: What the key is, in words.
        producers: Services that write it.
        consumers: Services that read it; "anyone" may besides.
        max_message_bytes: Largest message that the broker takes.
    """

    name: str
    records: Mapping[type[Record], int]
    key: Callable[[Any], str]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    description: str
    key_description: str = "series_id"
    partitions: int = PARTITIONS
    retention: timedelta | None = FOREVER
    max_message_bytes: int = MEBIBYTE

    def full_name(self, prefix: str) -> str:
        """Return the name in Kafka of an installation with this topic prefix."""
        return f"{prefix}{self.name}"


def _forecast_key(record: ForecastRequested | ForecastIssued | ForecastRefused) -> str:
    return record.series_id or record.request_id


def _request_key(record: ForecastRequested | ForecastRequestBatch) -> str:
    return _forecast_key(record.requests[0] if isinstance(record, ForecastRequestBatch) else record)


def _training_key(record: TrainingRequested | TrainingCancelRequested) -> str:
    return record.series_ids[0] if isinstance(record, TrainingRequested) else record.series_id


OBSERVATIONS = Topic(
    name="observations",
    records={ObservationBatch: 1},
    key=lambda batch: batch.series_id,
    producers=("ingestor",),
    consumers=("ingestor", "trainer", "predictor", "gateway"),
    description="Closed intervals of every series, in columnar batches.",
    max_message_bytes=4 * MEBIBYTE,
)
INGEST_REQUESTS = Topic(
    name="ingest-requests",
    records={IngestRequested: 1, AppendRequested: 1},
    key=lambda request: request.series_id,
    key_description="series_id, of an append that of its first series",
    producers=("gateway", "ingestor"),
    consumers=("ingestor", "gateway"),
    retention=timedelta(days=7),
    description="Wishes for data, and live rows.",
)
INGEST_SCHEDULES = Topic(
    name="ingest-schedules",
    records={SeriesScheduled: 1},
    key=lambda schedule: schedule.series_id,
    producers=("gateway",),
    consumers=("ingestor", "gateway"),
    description="When each series is fetched again and its models are trained again.",
)
QUARANTINE = Topic(
    name="quarantine",
    records={ObservationsQuarantined: 1, QuarantineDecided: 1},
    key=lambda record: record.series_id,
    producers=("ingestor", "gateway"),
    consumers=("ingestor", "gateway"),
    description="Observations that a quality rule holds back, and what was decided about them.",
    max_message_bytes=4 * MEBIBYTE,
)
INGEST_EVENTS = Topic(
    name="ingest-events",
    records={IngestEvent: 1, RunPlanned: 1},
    key=lambda event: event.series_id,
    producers=("ingestor",),
    consumers=("ingestor", "gateway"),
    retention=timedelta(days=30),
    description="What became of each wish for data, and when each series is fetched again.",
)
TRAINING_REQUESTS = Topic(
    name="training-requests",
    records={TrainingRequested: 1, TrainingCancelRequested: 1},
    key=_training_key,
    key_description="the first of series_ids",
    producers=("gateway", "ingestor"),
    consumers=("trainer", "ingestor", "gateway"),
    description="Wishes for model versions, and their withdrawals.",
)
TRAINING_EVENTS = Topic(
    name="training-events",
    records={TrainingEvent: 1},
    key=lambda event: event.series_id,
    producers=("trainer",),
    consumers=("gateway",),
    retention=timedelta(days=30),
    description="How each training goes.",
)
MODELS = Topic(
    name="models",
    records={ModelReleased: 1},
    key=lambda release: f"{release.model}:{release.version}",
    key_description="model:version",
    producers=("trainer",),
    consumers=("trainer", "predictor", "gateway"),
    partitions=1,
    max_message_bytes=32 * MEBIBYTE,
    description="Released model versions with their artefacts. One partition, so that one offset pins a prefix.",
)
DEPLOYMENTS = Topic(
    name="deployments",
    records={Deployment: 1},
    key=lambda deployment: deployment.model,
    key_description="model",
    producers=("gateway", "trainer"),
    consumers=("trainer", "predictor", "gateway"),
    partitions=1,
    description="Which version is champion, challenger or shadow. One partition, so that log order decides.",
)
FORECAST_REQUESTS = Topic(
    name="forecast-requests",
    records={ForecastRequested: 1, ForecastRequestBatch: 1},
    key=_request_key,
    key_description="series_id, or request_id of a request with its own window; of a batch, that of its first request",
    producers=("gateway", "predictor", "anyone"),
    consumers=("predictor", "gateway"),
    description="Wishes for forecasts.",
)
FORECASTS = Topic(
    name="forecasts",
    records={ForecastIssued: 1, ForecastRefused: 1},
    key=_forecast_key,
    key_description="series_id, or request_id where there is none",
    producers=("predictor",),
    consumers=("gateway", "anyone"),
    description="The forecasts, and the refusals: each request ends in exactly one of them.",
)
DEAD_LETTERS = Topic(
    name="dead-letters",
    records={DeadLetter: 1, DeadLetterDecided: 1},
    key=lambda letter: f"{letter.topic}/{letter.partition}/{letter.offset}",
    key_description="topic/partition/offset of the message",
    producers=("ingestor", "trainer", "predictor", "gateway", "foretopic"),
    consumers=("gateway", "foretopic"),
    max_message_bytes=64 * MEBIBYTE,
    description="Messages that can never be handled, with their original bytes and the reason, and what was decided.",
)

TOPICS: tuple[Topic, ...] = (
    OBSERVATIONS,
    INGEST_REQUESTS,
    INGEST_EVENTS,
    INGEST_SCHEDULES,
    QUARANTINE,
    TRAINING_REQUESTS,
    TRAINING_EVENTS,
    MODELS,
    DEPLOYMENTS,
    FORECAST_REQUESTS,
    FORECASTS,
    DEAD_LETTERS,
)
TOPIC_BY_NAME: Mapping[str, Topic] = {topic.name: topic for topic in TOPICS}
#: Topics that must have the same number of partitions, so that one instance owns a series whole.
COPARTITIONED: tuple[Topic, ...] = (
    OBSERVATIONS,
    INGEST_REQUESTS,
    INGEST_EVENTS,
    INGEST_SCHEDULES,
    QUARANTINE,
    TRAINING_REQUESTS,
    FORECAST_REQUESTS,
    FORECASTS,
)
