"""Projects, what is in them and what they predict."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from foretopic.client.documents.document import Document
from foretopic.client.documents.forecasts import Forecast
from foretopic.client.documents.ingests import ColumnMapping, Upload
from foretopic.client.documents.models import LeaderboardEntry, Training
from foretopic.client.documents.series import SeriesLine


class Quotas(Document, frozen=True, kw_only=True):
    """What a project may use; null: as the settings of the installation say."""

    requests_a_minute: int | None = None
    forecasts_a_day: int | None = None
    trainings_a_day: int | None = None
    rows_a_day: int | None = None
    series: int | None = None
    schedules: int | None = None


class QuotasInForce(Document, frozen=True, kw_only=True):
    """What holds for a project; 0: no limit."""

    requests_a_minute: int
    forecasts_a_day: int
    trainings_a_day: int
    rows_a_day: int
    series: int
    schedules: int


class UsedToday(Document, frozen=True, kw_only=True):
    """What was used since the day (UTC) began."""

    forecasts: int
    trainings: int
    rows: int


class InUse(Document, frozen=True, kw_only=True):
    """What a project has now."""

    series: int
    schedules: int


class ProjectQuotas(Document, frozen=True, kw_only=True):
    """What a project may use; of a public one what your organisation may."""

    project_id: str
    quotas: Quotas
    in_force: QuotasInForce
    used_today: UsedToday
    in_use: InUse
    resets_at: datetime


class ProjectFile(Document, frozen=True, kw_only=True):
    """How the columns of the file that a project was made from were read."""

    upload_id: str
    filename: str
    mapping: ColumnMapping
    columns: tuple[str, ...]


class LoadFault(Document, frozen=True, kw_only=True):
    """A series that could not be loaded."""

    series_id: str
    reason: str


class ProjectLoad(Document, frozen=True, kw_only=True):
    """How the newest ingest of each series went: how many are in each state."""

    queued: int
    running: int
    succeeded: int
    failed: int
    faults: tuple[LoadFault, ...]


class ProjectVersion(Document, frozen=True, kw_only=True):
    """A version of a model of a project, and the skill that it showed; `/api/v1/models` has all of it."""

    version: str
    training_id: str
    role: str | None = None
    algorithm: str
    target: str
    columns: tuple[str, ...]
    window_size: int
    horizon: int
    levels: tuple[float, ...]
    series_count: int
    skill: dict[str, float]
    folds: int
    fallback_from: str | None = None
    fallback_reason: str | None = None


class ProjectModel(Document, frozen=True, kw_only=True):
    """A model of a project."""

    model: str
    champion: str | None = None
    versions: tuple[ProjectVersion, ...]


class ProjectComparison(Document, frozen=True, kw_only=True):
    """What a training compared to choose what it released."""

    model: str
    version: str
    training_id: str
    requested_at: datetime | None = None
    leaderboard: tuple[LeaderboardEntry, ...]


class ProjectSchedule(Document, frozen=True, kw_only=True):
    """A series that is fetched by itself."""

    series_id: str
    sources: tuple[str, ...]
    cron: str
    after_close_minutes: int | None = None
    is_paused: bool


class ProjectUsage(Document, frozen=True, kw_only=True):
    """What was used, kind -> how much."""

    today: dict[str, int]
    last_30_days: dict[str, int]


class ProjectLine(Document, frozen=True, kw_only=True):
    """A project."""

    project_id: str
    name: str
    description: str
    organisation_id: str | None = None
    is_public: bool
    created_at: datetime | None = None
    quotas: Quotas
    file: ProjectFile | None = None


class CreatedProject(ProjectLine, frozen=True, kw_only=True):
    """A new project, and how its file is loaded."""

    upload: Upload | None = None


class Project(ProjectLine, frozen=True, kw_only=True):
    """All that is said of a project."""

    state: str
    series_count: int
    rows: int
    first_time: datetime | None = None
    last_time: datetime | None = None
    series: tuple[SeriesLine, ...]
    next: str | None = None
    load: ProjectLoad
    trainings: tuple[Training, ...]
    models: tuple[ProjectModel, ...]
    metrics: dict[str, dict[str, float]]
    leaderboard: tuple[LeaderboardEntry, ...]
    comparisons: tuple[ProjectComparison, ...] = ()
    schedules: tuple[ProjectSchedule, ...]
    usage: ProjectUsage


class ProjectList(Document, frozen=True, kw_only=True):
    """The projects that the caller may read, public ones among them."""

    projects: tuple[ProjectLine, ...]


class ProjectRemoved(Document, frozen=True, kw_only=True):
    """A project that is no more."""

    project_id: str
    state: str


class StartedTraining(Document, frozen=True, kw_only=True):
    """A training that was asked for."""

    training_id: str
    state: str
    model: str


class ProjectTrainings(Document, frozen=True, kw_only=True):
    """The trainings that were asked for, and what was taken where the request said nothing."""

    trainings: tuple[StartedTraining, ...]
    series_count: int
    target: str
    algorithm: str
    candidates: tuple[str, ...]
    horizon: int
    window_size: int
    covariates: dict[str, str]
    budget_seconds: float
    intervals: str


class SeriesPrediction(Document, frozen=True, kw_only=True):
    """What is predicted of one series."""

    series: str
    series_id: str
    model: str
    target: str
    version: str | None = None
    cutoff: datetime | None = None
    previsao_de_vendas: float | None = None
    values: tuple[float, ...] = ()
    is_rounded: bool = False
    ignored_columns: tuple[str, ...] = ()
    forecast: Forecast | None = None
    problem: dict[str, Any] | None = None


class Prediction(Document, frozen=True, kw_only=True):
    """What is predicted: of one series its fields, of several a list of them."""

    series: str = ""
    series_id: str | None = None
    model: str | None = None
    target: str = ""
    version: str | None = None
    cutoff: datetime | None = None
    previsao_de_vendas: float | None = None
    values: tuple[float, ...] = ()
    is_rounded: bool = False
    ignored_columns: tuple[str, ...] = ()
    forecast: Forecast | None = None
    problem: dict[str, Any] | None = None
    predictions: tuple[SeriesPrediction, ...] = ()
