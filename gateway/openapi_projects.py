"""Operations on projects: what they take, answer and refuse."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from gateway.accounts.project_rows import ProjectFile, Quotas
from gateway.openapi_answers import Answer, AnyObject, Count, SeriesLine, Training
from gateway.openapi_parts import JsonObject, Operation
from gateway.openapi_shared import BODY_PROBLEMS, QUERY, WRITE_503, json_answer
from gateway.openapi_uploads import UploadDocument
from gateway.project_training import ProjectTrainingBody
from gateway.routes.predictions import PredictionBody
from gateway.routes.projects import ProjectBody, ProjectChangeBody
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
    #: What the newest training compared, the winner first; empty where the algorithm was named.
    leaderboard: tuple[LeaderboardEntry, ...]
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


_ID = "shops-k3m9wz"
_LINE: JsonObject = {
    "project_id": _ID,
    "name": "Shops",
    "description": "",
    "organisation_id": "org_5f2b1c9e0d7a46338b1f0a9c",
    "is_public": False,
    "created_at": "2026-11-21T12:00:00Z",
    "quotas": {"requests_a_minute": None, "forecasts_a_day": None, "trainings_a_day": None},
    "file": None,
}
_DOCUMENT: JsonObject = {
    **_LINE,
    "state": "ready",
    "series_count": 1,
    "rows": 754,
    "first_time": "2013-01-02T00:00:00Z",
    "last_time": "2015-07-31T00:00:00Z",
    "series": [],
    "next": None,
    "load": {"queued": 0, "running": 0, "succeeded": 1, "failed": 0, "faults": []},
    "trainings": [],
    "models": [],
    "metrics": {"model": {"mape": 9.4}},
    "leaderboard": [],
    "schedules": [],
    "usage": {"today": {"forecast": 3}, "last_30_days": {"forecast": 41, "training": 1}},
}
_TRAINED: JsonObject = {
    "trainings": [{"training_id": "4872ca931bc95c72780bf81c8184f737", "state": "queued", "model": f"{_ID}/sales"}],
    "series_count": 1115,
    "target": "sales",
    "algorithm": "auto",
    "candidates": ["lightgbm", "linear"],
    "horizon": 42,
    "window_size": 90,
    "covariates": {"promo": "known-future"},
    "budget_seconds": 120.0,
    "intervals": "split",
}
_PREDICTION: JsonObject = {
    "series": "1",
    "series_id": f"{_ID}/1@1d",
    "model": f"{_ID}/sales",
    "target": "sales",
    "version": "0123456789abcdef",
    "cutoff": "2015-07-31T00:00:00Z",
    "previsao_de_vendas": 188,
    "values": [188, 201],
    "is_rounded": True,
    "ignored_columns": [],
}
_FORM = {
    "name": "Name of the project; that of the file unless given.",
    "description": "For people.",
    "organisation_id": "Whose it is; the organisation of the caller unless given.",
    "time": "Column with the times.",
    "series": "Column that names the series; empty where the file holds one.",
    "target": "Column that is to be forecast.",
    "columns": "Columns that are loaded, separated by commas.",
    "known_future": "Columns that are known in the future, separated by commas.",
    "freq": "Length of an observation, such as 1d.",
    "calendar": "Exchange calendar code, 24/5 or 24/7.",
    "force": "`true` lets in what the quality gate would hold back.",
}
_MISSING = ("unknown-project",)
_NO_FUTURE = ("future-missing", "horizon-too-long", "unknown-column", "no-observations")

PROJECTS = (
    Operation(
        method="get",
        path="/api/v1/projects",
        id="listProjects",
        tag="projects",
        summary="The projects of the caller, and the public ones",
        answers={200: json_answer("The projects.", ProjectList, {"projects": [_LINE]})},
        problems={**QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="post",
        path="/api/v1/projects",
        id="createProject",
        tag="projects",
        summary="Make a project, of a Parquet or CSV file or of nothing",
        description=(
            "A file is read as an upload is, and each of its series is loaded into the project; what the form, or the "
            "query beside a bare file, leaves out is as guessed. A file that cannot be used makes no project. The id "
            "is made of the name and random characters, and every series and model of the project begins with it."
        ),
        parameters=("filename",),
        body=ProjectBody,
        examples={"empty": {"name": "Shops", "description": "Sales of all shops"}},
        takes_file=True,
        form_fields=_FORM,
        answers={201: json_answer("Made.", CreatedProject, {**_LINE, "upload": None}, "Location")},
        problems={
            **BODY_PROBLEMS,
            400: ("empty-body", "malformed-json"),
            403: ("forbidden",),
            404: ("unknown-organisation",),
            409: ("uploads-off",),
            422: ("invalid-parameter", "invalid-body", "invalid-upload"),
            503: WRITE_503,
            507: ("uploads-full",),
        },
    ),
    Operation(
        method="get",
        path="/api/v1/projects/{project_id}",
        id="getProject",
        tag="projects",
        summary="What is in a project, how its models did, and what goes on there",
        parameters=("project_id", "limit", "after_series"),
        answers={200: json_answer("The project.", ProjectDocument, _DOCUMENT)},
        problems={**QUERY, 404: _MISSING, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="patch",
        path="/api/v1/projects/{project_id}",
        id="changeProject",
        tag="projects",
        summary="Give a project another name or description",
        parameters=("project_id",),
        body=ProjectChangeBody,
        examples={"name": {"name": "All shops"}},
        answers={200: json_answer("Changed.", ProjectLine, _LINE)},
        problems={
            **BODY_PROBLEMS,
            400: ("empty-body", "malformed-json"),
            404: _MISSING,
            409: ("project-not-registered",),
            422: ("invalid-parameter", "invalid-body"),
            503: ("broker-unavailable",),
        },
    ),
    Operation(
        method="delete",
        path="/api/v1/projects/{project_id}",
        id="removeProject",
        tag="projects",
        summary="Remove a project, with the keys and webhooks that are for it alone",
        description=(
            "What stands in the log stays there: nobody but operators sees it from then on, and the id is never given "
            "again. Refused while data are loaded, a model is trained, or a schedule fetches a series of it."
        ),
        parameters=("project_id",),
        answers={200: json_answer("Removed.", ProjectRemoved, {"project_id": _ID, "state": "removed"})},
        problems={
            **QUERY,
            404: _MISSING,
            409: ("project-busy", "project-not-registered"),
            503: ("broker-unavailable", "starting"),
        },
    ),
    Operation(
        method="post",
        path="/api/v1/projects/{project_id}/train",
        id="trainProject",
        tag="projects",
        summary="Train on the series of a project, with defaults from its data",
        description=(
            "One model learns from all series unless `per_series`. Of several series `auto` compares `lightgbm` and "
            "`linear` with the baselines, of one the algorithms that suit one, for 120 seconds; the training of the "
            "winner comes on top. The answer says what was taken; `GET /api/v1/trainings/{training_id}/events` tells "
            "how it goes."
        ),
        parameters=("project_id", "IdempotencyKey"),
        body=ProjectTrainingBody,
        is_body_optional=True,
        examples={"as-the-data-say": {}, "named": {"algorithm": "lightgbm", "known_future": ["Promo"], "horizon": 42}},
        answers={202: json_answer("Asked.", ProjectTrainings, _TRAINED, "Location")},
        problems={
            **BODY_PROBLEMS,
            404: ("unknown-project", "unknown-series"),
            409: ("project-busy", "project-empty"),
            422: ("invalid-parameter", "invalid-body", "idempotency-key-reused"),
            503: WRITE_503,
        },
    ),
    Operation(
        method="post",
        path="/api/v1/projects/{project_id}/predict",
        id="predictProject",
        tag="projects",
        summary="Predict the target for rows that lie ahead",
        description=(
            "Each row is the next step of its series, in the names of the file's columns: its date, the name of its "
            "series where the project has several, and a value of each column known in the future. Rows of several "
            "series are answered together. Waiting is as for forecasts: after `Prefer: wait`, 202 with where the "
            "forecast, or the batch of them, will be."
        ),
        parameters=("project_id", "IdempotencyKey", "Prefer"),
        body=PredictionBody,
        examples={
            "rows": {"rows": [{"Store": 1, "Date": "2015-08-01", "Promo": 1}]},
            "one-series": {
                "series": "1",
                "rows": [{"Date": "2015-08-01", "Promo": 1}, {"Date": "2015-08-03", "Promo": 0}],
            },
        },
        answers={
            200: json_answer("The predictions.", Prediction, _PREDICTION),
            202: json_answer("On its way.", AnyObject, {"request_id": "monday-1", "state": "pending"}, "Location"),
        },
        problems={
            **BODY_PROBLEMS,
            404: ("unknown-project", "unknown-series", "unknown-model"),
            409: ("not-trained", "no-champion"),
            413: ("body-too-large", "request-too-large"),
            422: ("invalid-parameter", "invalid-body", "idempotency-key-reused", *_NO_FUTURE),
            503: WRITE_503,
        },
    ),
)
