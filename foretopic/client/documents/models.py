"""Models and how they are trained."""

from __future__ import annotations

from datetime import datetime

from foretopic.client.documents.document import Document


class Deployment(Document, frozen=True, kw_only=True):
    """A version takes a role for a model name. The newest `champion` record of a name is the one that answers."""

    deployment_id: str
    model: str
    version: str
    role: str
    previous: str | None = None
    only_if_first: bool = False
    cause: str = "user"
    requester: str = ""
    reason: str = ""


class LeaderboardEntry(Document, frozen=True, kw_only=True):
    """How one candidate of `auto`, or of a search, did on folds that precede the test part."""

    algorithm: str
    members: tuple[str, ...] = ()
    hyperparameters: dict[str, bool | float | str] = {}
    state: str
    rung: int = 0
    folds: int = 0
    skill: dict[str, float] = {}
    metrics: dict[str, float] = {}
    reason: str = ""


class FoldMetrics(Document, frozen=True, kw_only=True):
    """How the forecasts from one cutoff of the test part did, those of all series together."""

    cutoff: datetime
    first_time: datetime
    last_time: datetime
    forecasts: int
    metrics: dict[str, dict[str, float]]


class MetricSpread(Document, frozen=True, kw_only=True):
    """How a metric of single folds varies."""

    mean: float
    deviation: float
    folds: int


class ModelVersion(Document, frozen=True, kw_only=True):
    """A released model version and the skill that it showed."""

    version: str
    role: str | None = None
    training_id: str
    algorithm: str
    series_ids: tuple[str, ...]
    target: str
    columns: tuple[str, ...]
    freq: str
    calendar: str
    unit: str | None = None
    window_size: int
    horizon: int
    levels: tuple[float, ...]
    metrics: dict[str, dict[str, float]]
    skill: dict[str, float]
    folds: int
    calibration_folds: int | None = None
    fallback_from: str | None = None
    fallback_reason: str | None = None
    leaderboard: tuple[LeaderboardEntry, ...]
    fold_metrics: tuple[FoldMetrics, ...] = ()
    fold_spread: dict[str, dict[str, MetricSpread]] = {}
    artefact_digest: str
    code_version: str


class Model(Document, frozen=True, kw_only=True):
    """A model with its versions, the newest first."""

    model: str
    champion: str | None = None
    versions: tuple[ModelVersion, ...]


class ModelList(Document, frozen=True, kw_only=True):
    """Every model."""

    models: tuple[Model, ...]


class Training(Document, frozen=True, kw_only=True):
    """A training, as its newest event tells it."""

    training_id: str
    model: str
    series_id: str
    state: str
    is_cancel_requested: bool
    sequence: int = 0
    fraction: float = 0.0
    stage: str = ""
    epoch: int | None = None
    losses: dict[str, float] = {}
    metrics: dict[str, float] = {}
    reason: str = ""
    version: str | None = None
    mlflow_run_id: str | None = None


class TrainingAccepted(Document, frozen=True, kw_only=True):
    """A training that has been asked for."""

    training_id: str
    state: str
    model: str


class TrainingLine(Training, frozen=True, kw_only=True):
    """A training with who asked for it."""

    requested_at: datetime
    project: str
    cause: str
    requester: str


class TrainingHistory(Document, frozen=True, kw_only=True):
    """Trainings, the newest first."""

    trainings: tuple[TrainingLine, ...]
    next: str | None = None
