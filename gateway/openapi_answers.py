"""The answers of the HTTP API that are no records, as types for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.problems import FieldFault
from schemas.ingests import IngestState
from schemas.models import LeaderboardEntry, Role, Version
from schemas.observations import BatchKind
from schemas.quarantine import RuleBroken
from schemas.record import Digest, Freq, Id, Level, ModelName, SeriesId
from schemas.trainings import TrainingState

Count = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object that the gateway sends; new fields may come, so readers ignore what they do not know."""


class ProblemDocument(Answer, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457): what was expected, what was found, what to do."""

    #: `/problems/` and the kind of problem.
    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    #: Path of the request.
    instance: str
    #: Stands in the log of the gateway beside what happened.
    x_request_id: str
    #: The forecast request, where there is one already.
    request_id: str = ""
    #: The fields at fault.
    errors: tuple[FieldFault, ...]


class SeriesLine(Answer, frozen=True, kw_only=True):
    """One series."""

    series_id: SeriesId
    freq: Freq
    #: Exchange calendar code, or `24/7`.
    calendar: str
    unit: str
    #: Where the newest batch came from: `yahoo`, `sample`, `file`, `mock`.
    source: str
    rows: Count
    first_time: datetime | None
    last_time: datetime | None


class SeriesList(Answer, frozen=True, kw_only=True):
    """Every series, by name."""

    series: tuple[SeriesLine, ...]


class Columns(Answer, frozen=True, kw_only=True):
    """Observations column by column; all arrays have one length."""

    #: UTC start of each interval, in the order asked for.
    time: tuple[datetime, ...]
    #: Column name -> values; null is a missing value.
    columns: dict[str, tuple[float | None, ...]]


class RowVersions(Answer, frozen=True, kw_only=True):
    """Where the version of each row comes from; all arrays are as long as the rows."""

    #: Of its batch, in the partition of the series.
    log_offset: tuple[Count, ...]
    #: When the ingestor saw it (UTC).
    received_at: tuple[datetime, ...]
    kind: tuple[BatchKind, ...]
    #: Why it was restated; empty for the other kinds.
    reason: tuple[str, ...]
    source: tuple[str, ...]


class ObservationsPage(Answer, frozen=True, kw_only=True):
    """Some observations of a series, and where the next ones are."""

    series_id: SeriesId
    freq: Freq
    unit: str
    observations: Columns
    #: Only where asked for.
    versions: RowVersions | None = None
    #: Path of the next page; null on the last one.
    next: str | None


class ColumnChange(Answer, frozen=True, kw_only=True):
    """How a value changed; null is a missing one."""

    from_: float | None = msgspec.field(name="from")
    to: float | None


class Restatement(Answer, frozen=True, kw_only=True):
    """A row whose values were replaced by others."""

    #: UTC start of its interval.
    time: datetime
    #: When the new values were received (UTC).
    received_at: datetime
    #: Of the batch with the new values: before it the old ones held.
    log_offset: Count
    kind: BatchKind
    reason: str
    source: str
    #: The columns that changed.
    columns: dict[str, ColumnChange]


class RestatementsPage(Answer, frozen=True, kw_only=True):
    """Some restatements of a series, and where the next ones are."""

    series_id: SeriesId
    restatements: tuple[Restatement, ...]
    #: Path of the next page; null on the last one.
    next: str | None


class ForecastInputs(Answer, frozen=True, kw_only=True):
    """The rows of a series as they were known to a forecast."""

    forecast_id: Id
    request_id: Id
    series_id: SeriesId
    model: ModelName
    version: Version
    #: UTC; time of the last row.
    cutoff: datetime
    #: Where the newest batch that it used stands in `observations`.
    observation_partition: Count
    observation_offset: Count
    #: The raw columns of the model, oldest row first, up to the cutoff.
    observations: Columns
    #: What the log knew of the steps, in the columns known in the future; null where the model reads none.
    future: Columns | None
    #: Of `observations`; only where asked for.
    versions: RowVersions | None = None


class PendingForecast(Answer, frozen=True, kw_only=True):
    """A forecast that is on its way."""

    request_id: Id
    state: Literal["pending"]


class TrainingAccepted(Answer, frozen=True, kw_only=True):
    """A training that has been asked for."""

    training_id: Id
    state: Literal["queued"]
    model: ModelName


class Training(Answer, frozen=True, kw_only=True):
    """A training, as its newest event tells it."""

    training_id: Id
    model: ModelName
    series_id: SeriesId
    state: TrainingState
    is_cancel_requested: bool
    sequence: Count = 0
    fraction: Fraction = 0.0
    stage: str = ""
    epoch: int | None = None
    losses: dict[str, float] = {}
    metrics: dict[str, float] = {}
    #: Why it failed or was cancelled; of a success, why another algorithm stands in for the one asked for.
    reason: str = ""
    version: str | None = None
    mlflow_run_id: str | None = None


class ModelVersion(Answer, frozen=True, kw_only=True):
    """A released model version and the skill that it showed."""

    version: Version
    #: The part that it has now; null for none.
    role: Role | None
    training_id: Id
    algorithm: str
    series_ids: tuple[SeriesId, ...]
    target: str
    #: Raw columns, in the order in which a `window` must give them.
    columns: tuple[str, ...]
    freq: Freq
    calendar: str
    unit: str | None
    window_size: int
    horizon: int
    levels: tuple[Level, ...]
    #: Method -> metric -> value; `model` stands beside the baselines on the same folds.
    metrics: dict[str, dict[str, float]]
    #: Baseline -> 1 - loss / loss of the baseline; below 0 the model loses to it.
    skill: dict[str, float]
    folds: int
    #: Folds that the bands are calibrated on; null for a release that does not say.
    calibration_folds: int | None
    #: The algorithm that was asked for where the history was too short for it, and why; null where none stands in.
    fallback_from: str | None
    fallback_reason: str | None
    #: What was compared where the algorithm or its hyperparameters were chosen, the winner first, on folds before those
    #: of `metrics` and `skill`; empty where they were given.
    leaderboard: tuple[LeaderboardEntry, ...]
    artefact_digest: Digest
    code_version: str


class Model(Answer, frozen=True, kw_only=True):
    """A model with its versions, the newest first."""

    model: ModelName
    #: The version that answers; null as long as there is none.
    champion: Version | None
    versions: tuple[ModelVersion, ...]


class ModelList(Answer, frozen=True, kw_only=True):
    """Every model."""

    models: tuple[Model, ...]


class IngestAccepted(Answer, frozen=True, kw_only=True):
    """An ingest that has been asked for."""

    ingest_id: Id
    series_id: SeriesId
    state: Literal["queued"]


class Ingest(Answer, frozen=True, kw_only=True):
    """An ingest, as its newest event tells it."""

    ingest_id: Id
    series_id: SeriesId
    state: IngestState | Literal["queued"]
    #: The source that delivered.
    source: str | None = None
    rows_received: Count = 0
    rows_published: Count = 0
    #: Rows that the quality gate held back, `GET /api/v1/quarantine` lists them, and what it let in and tells.
    rows_quarantined: Count = 0
    flags: tuple[str, ...] = ()
    #: Part done.
    fraction: Fraction = 0.0
    first_time: datetime | None = None
    last_time: datetime | None = None
    #: Why it failed, or which source was passed over.
    reason: str = ""


class QuarantineLine(Answer, frozen=True, kw_only=True):
    """Rows that the quality gate holds back, without the rows themselves."""

    quarantine_id: Id
    series_id: SeriesId
    #: The ingest that brought them.
    ingest_id: Id
    held_at: datetime
    source: str
    rows: Count
    first_time: datetime
    last_time: datetime
    #: The rules that they break.
    broken: tuple[RuleBroken, ...]
    state: Literal["held", "released", "rejected"]
    #: Who decided, and why.
    decided_by: str = ""
    reason: str = ""
    #: Of released rows: the ingest that tells what became of them.
    release_ingest_id: Id | None = None


class QuarantinePage(Answer, frozen=True, kw_only=True):
    """Held rows, the newest first."""

    quarantine: tuple[QuarantineLine, ...]
    #: Path of the next page; null on the last one.
    next: str | None


class Quarantined(QuarantineLine, frozen=True, kw_only=True):
    """Rows that the quality gate holds back."""

    #: What they would be in the log.
    kind: BatchKind
    unit: str
    observations: Columns


class Health(Answer, frozen=True, kw_only=True):
    """Whether the process works."""

    status: Literal["ok", "unavailable"]
    version: str = ""
    reason: str = ""


class Readiness(Answer, frozen=True, kw_only=True):
    """Whether a champion can answer, and what is waited for otherwise."""

    status: Literal["ok", "unavailable"]
    waiting_for: tuple[str, ...] = ()


class ServiceState(Answer, frozen=True, kw_only=True):
    """One service."""

    name: str
    state: Literal["up", "down", "waiting"]
    #: Instances in its consumer group; this and what follows is null for all but operators.
    members: Count | None
    #: Messages that wait for it.
    backlog: Count | None
    last_record_time: datetime | None


class TopicState(Answer, frozen=True, kw_only=True):
    """One topic; `end_offsets` is the sum over its partitions."""

    topic: str
    partitions: Count
    end_offsets: Count
    last_record_time: datetime | None


class AlarmLine(Answer, frozen=True, kw_only=True):
    """One id that stands over two contents: something that must never happen."""

    topic: str
    partition: Count
    log_offset: Count
    kind: str
    subject: str


class Status(Answer, frozen=True, kw_only=True):
    """Everything at a glance."""

    version: str
    is_ready: bool
    waiting_for: tuple[str, ...]
    services: tuple[ServiceState, ...]
    topics: tuple[TopicState, ...]
    trainings: tuple[Training, ...]
    alarms: tuple[AlarmLine, ...]


class AnyObject(Answer, frozen=True, kw_only=True):
    """A document that describes itself."""
