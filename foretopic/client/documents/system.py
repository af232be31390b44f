"""The gateway itself, and the doors of older clients."""

from __future__ import annotations

from datetime import datetime

from foretopic.client.documents.document import Document
from foretopic.client.documents.models import Training


class AlarmLine(Document, frozen=True, kw_only=True):
    """One id that stands over two contents: something that must never happen."""

    topic: str
    partition: int
    log_offset: int
    kind: str
    subject: str


class Health(Document, frozen=True, kw_only=True):
    """Whether the process works."""

    status: str
    version: str = ""
    reason: str = ""


class Readiness(Document, frozen=True, kw_only=True):
    """Whether a champion can answer, and what is waited for otherwise."""

    status: str
    waiting_for: tuple[str, ...] = ()


class ServiceState(Document, frozen=True, kw_only=True):
    """One service."""

    name: str
    state: str
    members: int | None = None
    backlog: int | None = None
    last_record_time: datetime | None = None


class TopicState(Document, frozen=True, kw_only=True):
    """One topic; `end_offsets` is the sum over its partitions."""

    topic: str
    partitions: int
    end_offsets: int
    last_record_time: datetime | None = None


class Status(Document, frozen=True, kw_only=True):
    """Everything at a glance."""

    version: str
    is_ready: bool
    waiting_for: tuple[str, ...]
    services: tuple[ServiceState, ...]
    topics: tuple[TopicState, ...]
    trainings: tuple[Training, ...]
    alarms: tuple[AlarmLine, ...]


class LetterPlace(Document, frozen=True, kw_only=True):
    """Where a message stands."""

    topic: str
    partition: int
    offset: int


class ShownBytes(Document, frozen=True, kw_only=True):
    """Bytes of a message, of long ones the beginning."""

    bytes: int
    is_cut: bool
    text: str | None = None
    base64: str
    hex: str


class DeadLetterLine(Document, frozen=True, kw_only=True):
    """A message that no service could handle, without its bytes."""

    dead_letter_id: str
    topic: str
    service: str
    reason: str
    value_bytes: int
    replay_of: str | None = None
    died_at: datetime
    state: str
    decided_by: str
    decision_reason: str
    replayed_to: LetterPlace | None = None


class DeadLetterDetails(DeadLetterLine, frozen=True, kw_only=True):
    """A message that no service could handle: where it stood, and its bytes."""

    partition: int
    offset: int
    attempts: int
    code_version: str
    key: ShownBytes | None = None
    value: ShownBytes | None = None
    headers: dict[str, ShownBytes]
    died_again_as: tuple[str, ...]


class DeadLetterPage(Document, frozen=True, kw_only=True):
    """Dead letters, the newest first."""

    dead_letters: tuple[DeadLetterLine, ...]
    next: str | None = None


class LastDaysPrediction(Document, frozen=True, kw_only=True):
    """The median of the next close, as it is traded."""

    prediction: float


class LoadedModel(Document, frozen=True, kw_only=True):
    """A version that answers or is tried."""

    name: str
    version: str
    algorithm: str
    role: str
    target: str


class LoadedModels(Document, frozen=True, kw_only=True):
    """The versions that predictors have loaded."""

    models: tuple[LoadedModel, ...]


class Reloaded(Document, frozen=True, kw_only=True):
    """There is nothing to reload: what is loaded."""

    models: tuple[LoadedModel, ...]
    status: str
    detail: str


class SymbolPrediction(Document, frozen=True, kw_only=True):
    """The last price of a symbol, and where it goes next."""

    symbol: str
    series_id: str
    price: float
    time: datetime
    prediction: float
    direction: str
    probability_up: float | None = None
    model: str
    version: str
    is_simulated: bool
    forecast_id: str
