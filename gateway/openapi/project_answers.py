"""The answers about projects."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from gateway.accounts.project_rows import ProjectFile, Quotas
from gateway.answers import Answer, Count
from gateway.openapi.series import SeriesLine
from gateway.openapi.trainings import Training
from gateway.openapi.uploads import UploadDocument
from schemas.forecasts import ForecastIssued
from schemas.models import LeaderboardEntry, Role
from schemas.record import Id, Level, ModelName, SeriesId
from schemas.trainings import CovariateKind, IntervalKind


class ProjectLine(Answer, frozen=True, kw_only=True):
    """A project."""

    project_id: str
    name: str
    description: str
    #: Null: public, or not made by a request.
    organisation_id: str | None
    is_public: bool
    created_at: datetime | None
    quotas: Quotas
    #: The file that it was made from, and how its columns were read.
    file: ProjectFile | None


class ProjectList(Answer, frozen=True, kw_only=True):
    """The projects that the caller may read, public ones among them."""

    projects: tuple[ProjectLine, ...]


class CreatedProject(ProjectLine, frozen=True, kw_only=True):
    """A new project, and how its file is loaded."""

    #: Null where it was made without a file.
    upload: UploadDocument | None


class LoadFault(Answer, frozen=True, kw_only=True):
    """A series that could not be loaded."""

    series_id: SeriesId
    reason: str


class ProjectLoad(Answer, frozen=True, kw_only=True):
    """How the newest ingest of each series went: how many are in each state."""

    queued: Count
    running: Count
    succeeded: Count
    failed: Count
    #: The first of those that failed.
    faults: tuple[LoadFault, ...]


class ProjectVersion(Answer, frozen=True, kw_only=True):
    """A version of a model of a project, and the skill that it showed; `/api/v1/models` has all of it."""

    version: str
    training_id: Id
    role: Role | None
    algorithm: str
    target: str
    columns: tuple[str, ...]
    window_size: int
    horizon: int
    levels: tuple[Level, ...]
    #: How many series it learnt from.
    series_count: Count
    skill: dict[str, float]
    folds: int
    fallback_from: str | None
    fallback_reason: str | None


class ProjectModel(Answer, frozen=True, kw_only=True):
    """A model of a project."""

    model: ModelName
    champion: str | None
    #: The newest first.
    versions: tuple[ProjectVersion, ...]


class ProjectComparison(Answer, frozen=True, kw_only=True):
    """What a training compared to choose what it released."""

    model: ModelName
    #: What was released: the winner of this comparison.
    version: str
    training_id: Id
    #: When the training was asked for; null where the log says nothing of it.
    requested_at: datetime | None
    #: The winner first.
    leaderboard: tuple[LeaderboardEntry, ...]


class ProjectSchedule(Answer, frozen=True, kw_only=True):
    """A series that is fetched by itself."""

    series_id: SeriesId
    sources: tuple[str, ...]
    cron: str
    after_close_minutes: int | None
    is_paused: bool


class ProjectUsage(Answer, frozen=True, kw_only=True):
    """What was used, kind -> how much."""

    today: dict[str, Count]
    last_30_days: dict[str, Count]


class ProjectDocument(ProjectLine, frozen=True, kw_only=True):
    """All that is said of a project."""

    state: Literal["empty", "loading", "training", "ready"]
    series_count: Count
    #: Of all series together.
    rows: Count
    first_time: datetime | None
    last_time: datetime | None
    #: A page of the series, by name.
    series: tuple[SeriesLine, ...]
    #: Path of the next page of series; null on the last one.
    next: str | None
    load: ProjectLoad
    #: The newest first, without their metrics.
    trainings: tuple[Training, ...]
    models: tuple[ProjectModel, ...]
    #: Of the newest release: method -> metric -> value, the model beside the baselines.
    metrics: dict[str, dict[str, float]]
    #: That of the first of `comparisons`; empty where nothing was ever compared.
    leaderboard: tuple[LeaderboardEntry, ...]
    #: The newest comparison of each model that has one, the newest first. It stays when an algorithm is named later.
    comparisons: tuple[ProjectComparison, ...]
    schedules: tuple[ProjectSchedule, ...]
    usage: ProjectUsage


class ProjectRemoved(Answer, frozen=True, kw_only=True):
    """A project that is no more."""

    project_id: str
    state: Literal["removed"]


class StartedTraining(Answer, frozen=True, kw_only=True):
    """A training that was asked for."""

    training_id: Id
    state: Literal["queued"]
    model: ModelName


class ProjectTrainings(Answer, frozen=True, kw_only=True):
    """The trainings that were asked for, and what was taken where the request said nothing."""

    trainings: tuple[StartedTraining, ...]
    series_count: Count
    target: str
    algorithm: str
    candidates: tuple[str, ...]
    horizon: int
    window_size: int
    covariates: dict[str, CovariateKind]
    budget_seconds: float
    intervals: IntervalKind


class SeriesPrediction(Answer, frozen=True, kw_only=True):
    """What is predicted of one series."""

    #: Its name within the project.
    series: str
    series_id: SeriesId
    model: ModelName
    #: The column that is predicted, also where it is not sales.
    target: str
    version: str | None = None
    #: UTC; time of the last observation used.
    cutoff: datetime | None = None
    #: The median of the first step: the first of `values`.
    previsao_de_vendas: float | None = None
    #: The median of each step, in the order of the rows; rounded to whole numbers where `is_rounded`.
    values: tuple[float, ...] = ()
    #: Whether the target counts: its newest values are whole numbers, so what is predicted is rounded, halves up.
    is_rounded: bool = False
    #: Columns of the rows that the model does not read.
    ignored_columns: tuple[str, ...] = ()
    #: The whole forecast, not rounded.
    forecast: ForecastIssued | None = None
    #: Why there is none, for one of several series.
    problem: Annotated[dict[str, Any] | None, Meta(description="A problem document (RFC 9457)")] = None


class Prediction(SeriesPrediction, frozen=True, kw_only=True):
    """What is predicted: of one series its fields, of several a list of them."""

    series: str = ""
    series_id: SeriesId | None = None  # type: ignore[assignment]  # left out where there are several
    model: ModelName | None = None  # type: ignore[assignment]
    target: str = ""
    predictions: tuple[SeriesPrediction, ...] = ()
