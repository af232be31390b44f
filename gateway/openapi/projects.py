"""The operations on projects."""

from __future__ import annotations

from gateway.accounts.project_rows import Quotas
from gateway.openapi.answers import AnyObject
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import NO_ROOM, QUERY, STARTING
from gateway.openapi.project_answers import (
    CreatedProject,
    Prediction,
    ProjectDocument,
    ProjectLine,
    ProjectList,
    ProjectRemoved,
    ProjectTrainings,
)
from gateway.project_training import ProjectTrainingBody
from gateway.routes.predictions import PredictionBody
from gateway.routes.projects import ProjectBody, ProjectChangeBody

_ID = "shops-k3m9wz"
_LINE: JsonObject = {
    "project_id": _ID,
    "name": "Shops",
    "description": "",
    "organisation_id": "org_5f2b1c9e0d7a46338b1f0a9c",
    "is_public": False,
    "created_at": "2026-11-21T12:00:00Z",
    "quotas": dict.fromkeys(Quotas.__struct_fields__),
    "file": None,
}
_BOARD: list[JsonObject] = [
    {"algorithm": "lightgbm", "state": "chosen", "rung": 1, "folds": 120, "skill": {"seasonal-naive": 0.31}},
    {"algorithm": "linear", "state": "compared", "rung": 1, "folds": 120, "skill": {"seasonal-naive": 0.22}},
]
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
    "leaderboard": _BOARD,
    "comparisons": [
        {
            "model": f"{_ID}/sales",
            "version": "0123456789abcdef",
            "training_id": "4872ca931bc95c72780bf81c8184f737",
            "requested_at": "2026-11-21T12:00:00Z",
            "leaderboard": _BOARD,
        }
    ],
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
    "budget_seconds": 600.0,
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
        description=(
            "Those of your organisations, and the public ones, with their quotas and the file that they were made from."
        ),
        answers={200: json_answer("The projects.", ProjectList, {"projects": [_LINE]})},
        problems=QUERY,
    ),
    Operation(
        method="post",
        path="/api/v1/projects",
        id="createProject",
        counts_as="row",
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
            403: ("forbidden",),
            404: ("unknown-organisation",),
            409: ("uploads-off", "limit-reached"),
            422: ("invalid-parameter", "invalid-upload"),
            **STARTING,
            507: NO_ROOM,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/projects/{project_id}",
        id="getProject",
        tag="projects",
        summary="What is in a project, how its models did, and what goes on there",
        description=(
            "The state, a page of the series, how loading goes, the trainings and models with the skill that they "
            "showed, the schedules, and what was used."
        ),
        parameters=("project_id", "limit", "after_series"),
        answers={200: json_answer("The project.", ProjectDocument, _DOCUMENT)},
        problems={**QUERY, 404: _MISSING},
    ),
    Operation(
        method="patch",
        path="/api/v1/projects/{project_id}",
        id="changeProject",
        tag="projects",
        summary="Give a project another name or description",
        description="What is left out stays. The id stays in any case: series and models begin with it.",
        parameters=("project_id",),
        body=ProjectChangeBody,
        examples={"name": {"name": "All shops"}},
        answers={200: json_answer("Changed.", ProjectLine, _LINE)},
        problems={
            404: _MISSING,
            409: ("project-not-registered",),
            422: ("invalid-parameter",),
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
            **STARTING,
        },
    ),
    Operation(
        method="post",
        path="/api/v1/projects/{project_id}/train",
        id="trainProject",
        counts_as="training",
        tag="projects",
        summary="Train on the series of a project, with defaults from its data",
        description=(
            "One model learns from all series unless `per_series`. Of several series `auto` compares `lightgbm` and "
            "`linear` with the baselines, for 600 seconds at most, of one the algorithms that suit one, for 120; the "
            "training of the winner comes on top. The answer says what was taken; "
            "`GET /api/v1/trainings/{training_id}/events` tells how it goes."
        ),
        parameters=("project_id", "IdempotencyKey"),
        body=ProjectTrainingBody,
        is_body_optional=True,
        examples={"as-the-data-say": {}, "named": {"algorithm": "lightgbm", "known_future": ["Promo"], "horizon": 42}},
        answers={202: json_answer("Asked.", ProjectTrainings, _TRAINED, "Location")},
        problems={
            404: ("unknown-project", "unknown-series"),
            409: ("project-busy", "project-empty"),
            422: ("invalid-parameter", "idempotency-key-reused"),
            **STARTING,
        },
    ),
    Operation(
        method="post",
        path="/api/v1/projects/{project_id}/predict",
        id="predictProject",
        counts_as="forecast",
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
            404: ("unknown-project", "unknown-series", "unknown-model"),
            409: ("not-trained", "no-champion"),
            413: ("request-too-large",),
            422: ("invalid-parameter", "idempotency-key-reused", *_NO_FUTURE),
            **STARTING,
        },
    ),
)
