"""Every operation of the HTTP API with what it takes, what it answers and how it refuses."""

from __future__ import annotations

from gateway import openapi_answers as answers
from gateway import openapi_examples as examples
from gateway.bodies import DecisionBody, DeployBody, ForecastBody, IngestBody, TrainingBody
from gateway.openapi_parts import REFUSALS, Operation, Sent
from schemas.forecasts import ForecastIssued
from schemas.models import Deployment

_KEYED = ("invalid-idempotency-key",)
_BODY_400 = ("empty-body", "malformed-json", *_KEYED)
_BODY_PROBLEMS = {400: _BODY_400, 413: ("body-too-large",), 415: ("unsupported-media-type",)}
_WRITE_503 = ("broker-unavailable", "busy", "starting")
_QUERY = {422: ("invalid-parameter",)}
_HTML = Sent(description="The page.", media_type="text/html")


def _json(description: str, type_: type, example: object, *headers: str) -> Sent:
    return Sent(description=description, type=type_, example=example, headers=headers)


FORECASTS = (
    Operation(
        method="post",
        path="/api/v1/forecasts",
        id="askForecast",
        tag="forecasts",
        summary="Ask for a forecast of a series, or of a window of raw values",
        description=(
            "The request goes into the log and is answered exactly once. It is pinned to what the gateway has read, so "
            "it sees every upload that was acknowledged before. Without an answer in time, 202 says where it will be."
        ),
        parameters=("IdempotencyKey", "Prefer"),
        body=ForecastBody,
        examples={"series": examples.FORECAST_BODY, "window": examples.FORECAST_WINDOW_BODY},
        answers={
            200: _json("The forecast.", ForecastIssued, examples.forecast()),
            202: _json("Asked, not answered yet.", answers.PendingForecast, examples.PENDING, "Location", "RetryAfter"),
        },
        problems={
            **_BODY_PROBLEMS,
            404: ("unknown-series", "unknown-model", "unknown-version"),
            409: ("no-champion",),
            413: ("body-too-large", "request-too-large"),
            422: ("invalid-body", "idempotency-key-reused", *REFUSALS),
            503: _WRITE_503,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/forecasts/{forecast_or_request_id}",
        id="getForecast",
        tag="forecasts",
        summary="Read a forecast again",
        description="By request id (also of a request that is not answered yet) or by forecast id.",
        parameters=("forecast_or_request_id",),
        answers={
            200: _json("The forecast.", ForecastIssued, examples.forecast()),
            202: _json("Not answered yet.", answers.PendingForecast, examples.PENDING, "Location", "RetryAfter"),
        },
        problems={
            404: ("unknown-forecast", "unknown-series", "unknown-model", "unknown-version"),
            409: ("no-champion",),
            413: ("request-too-large",),
            422: REFUSALS,
            503: ("broker-unavailable", "starting"),
        },
    ),
)
SERIES = (
    Operation(
        method="get",
        path="/api/v1/series",
        id="listSeries",
        tag="series",
        summary="Every series",
        answers={200: _json("The series.", answers.SeriesList, {"series": [examples.SERIES_LINE]})},
        problems={**_QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}",
        id="getSeries",
        tag="series",
        summary="One series",
        parameters=("series_id",),
        answers={200: _json("The series.", answers.SeriesLine, examples.SERIES_LINE)},
        problems={404: ("unknown-series",), **_QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}/observations",
        id="listObservations",
        tag="series",
        summary="Observations of a series, page by page",
        description="The latest record that names a time is the one that counts.",
        parameters=("series_id", "rows", "after", "before", "order"),
        answers={200: _json("A page.", answers.ObservationsPage, examples.OBSERVATIONS)},
        problems={404: ("unknown-series",), **_QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}/forecasts/latest",
        id="getLatestForecast",
        tag="series",
        summary="The newest forecast of a series",
        parameters=("series_id",),
        answers={200: _json("The forecast.", ForecastIssued, examples.forecast())},
        problems={404: ("unknown-series", "no-forecast-yet"), **_QUERY, 503: ("broker-unavailable",)},
    ),
)
TRAININGS = (
    Operation(
        method="post",
        path="/api/v1/trainings",
        id="startTraining",
        tag="trainings",
        summary="Ask for a model version",
        description=(
            "Exactly one of `series_id` and `series_ids` is given. The first release of a model becomes its champion; "
            "later ones wait for a deployment."
        ),
        parameters=("IdempotencyKey",),
        body=TrainingBody,
        examples={"lstm": examples.TRAINING_BODY, "features": examples.TRAINING_FEATURES_BODY},
        answers={202: _json("Asked.", answers.TrainingAccepted, examples.TRAINING_ACCEPTED, "Location")},
        problems={
            **_BODY_PROBLEMS,
            404: ("unknown-series",),
            422: ("invalid-body", "idempotency-key-reused"),
            503: _WRITE_503,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/trainings",
        id="listTrainings",
        tag="trainings",
        summary="Trainings, the newest first",
        parameters=("limit",),
        answers={200: _json("The trainings.", answers.TrainingList, {"trainings": [examples.TRAINING]})},
        problems={**_QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/trainings/{training_id}",
        id="getTraining",
        tag="trainings",
        summary="How a training goes",
        parameters=("training_id",),
        answers={200: _json("The training.", answers.Training, examples.TRAINING)},
        problems={404: ("unknown-training",), 503: ("broker-unavailable", "starting")},
    ),
    Operation(
        method="delete",
        path="/api/v1/trainings/{training_id}",
        id="cancelTraining",
        tag="trainings",
        summary="Cancel a training",
        parameters=("training_id",),
        answers={
            202: _json("Cancellation asked for.", answers.Training, {**examples.TRAINING, "is_cancel_requested": True})
        },
        problems={404: ("unknown-training",), 409: ("training-ended",), 503: ("broker-unavailable", "starting")},
    ),
    Operation(
        method="get",
        path="/api/v1/trainings/{training_id}/events",
        id="followTraining",
        tag="trainings",
        summary="Follow a training as server-sent events",
        description=(
            "One event each; its name is the state, its data a `TrainingEvent` as JSON. The stream ends with the "
            "training. A client that comes again with `Last-Event-ID` goes on behind it."
        ),
        parameters=("training_id", "LastEventID"),
        answers={200: Sent(description="The events.", media_type="text/event-stream", example=examples.EVENT_STREAM)},
        problems={404: ("unknown-training",), 503: ("broker-unavailable", "starting")},
    ),
)
MODELS = (
    Operation(
        method="get",
        path="/api/v1/models",
        id="listModels",
        tag="models",
        summary="Every model with its versions, their skill, and which of them answers",
        answers={200: _json("The models.", answers.ModelList, {"models": [examples.MODEL]})},
        problems={**_QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/models/{model}",
        id="getModel",
        tag="models",
        summary="One model",
        parameters=("model",),
        answers={200: _json("The model.", answers.Model, examples.MODEL)},
        problems={404: ("unknown-model",), **_QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="post",
        path="/api/v1/models/{model}/deploy",
        id="deployVersion",
        tag="models",
        summary="Give a version a role: champion, challenger or shadow",
        parameters=("model", "IdempotencyKey", "Prefer"),
        body=DeployBody,
        examples={"champion": examples.DEPLOY_BODY},
        answers={
            200: _json("Deployed, and seen by this gateway.", Deployment, examples.DEPLOYMENT),
            202: _json("Deployed; this gateway has not read it yet.", Deployment, examples.DEPLOYMENT),
        },
        problems={
            **_BODY_PROBLEMS,
            404: ("unknown-model", "unknown-version"),
            422: ("invalid-body", "idempotency-key-reused"),
            503: _WRITE_503,
        },
    ),
)
INGESTS = (
    Operation(
        method="post",
        path="/api/v1/ingests",
        id="startIngest",
        tag="ingests",
        summary="Ask for data",
        description="Sources are tried in the order given. What is known already is not published twice.",
        parameters=("IdempotencyKey",),
        body=IngestBody,
        examples={"yahoo-or-sample": examples.INGEST_BODY},
        answers={202: _json("Asked.", answers.IngestAccepted, examples.INGEST_ACCEPTED, "Location")},
        problems={**_BODY_PROBLEMS, 422: ("invalid-body", "idempotency-key-reused"), 503: _WRITE_503},
    ),
    Operation(
        method="get",
        path="/api/v1/ingests",
        id="listIngests",
        tag="ingests",
        summary="Ingests, the newest first",
        parameters=("limit",),
        answers={200: _json("The ingests.", answers.IngestList, {"ingests": [examples.INGEST]})},
        problems={**_QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/ingests/{ingest_id}",
        id="getIngest",
        tag="ingests",
        summary="What became of an ingest",
        parameters=("ingest_id",),
        answers={200: _json("The ingest.", answers.Ingest, examples.INGEST)},
        problems={404: ("unknown-ingest",), 503: ("broker-unavailable", "starting")},
    ),
)
QUARANTINE = (
    Operation(
        method="get",
        path="/api/v1/quarantine",
        id="listQuarantine",
        tag="quarantine",
        summary="Rows that the quality gate holds back, the newest first",
        parameters=("of_series", "state", "after_id", "limit"),
        answers={
            200: _json("A page.", answers.QuarantinePage, {"quarantine": [examples.QUARANTINE_LINE], "next": None})
        },
        problems={404: ("unknown-quarantine",), **_QUERY, 503: ("broker-unavailable", "starting")},
    ),
    Operation(
        method="get",
        path="/api/v1/quarantine/{quarantine_id}",
        id="getQuarantined",
        tag="quarantine",
        summary="Held rows with the rules that they break",
        parameters=("quarantine_id",),
        answers={200: _json("The rows.", answers.Quarantined, examples.QUARANTINED)},
        problems={404: ("unknown-quarantine",), **_QUERY, 503: ("broker-unavailable", "starting")},
    ),
    *(
        Operation(
            method="post",
            path=f"/api/v1/quarantine/{{quarantine_id}}/{decision}",
            id=f"{decision}Quarantined",
            tag="quarantine",
            summary=summary,
            description="The first decision counts; the same one again changes nothing.",
            parameters=("quarantine_id",),
            body=DecisionBody,
            examples={decision: examples.DECISION_BODY},
            answers={202: _json("Decided.", answers.QuarantineLine, example, "Location")},
            problems={
                **_BODY_PROBLEMS,
                400: ("empty-body", "malformed-json"),
                404: ("unknown-quarantine",),
                409: ("already-decided",),
                422: ("invalid-body",),
                503: _WRITE_503,
            },
        )
        for decision, summary, example in (
            ("release", "Let held rows in: they are published once", examples.RELEASED),
            ("reject", "Throw held rows away", {**examples.QUARANTINE_LINE, "state": "rejected"}),
        )
    ),
)
SYSTEM = (
    Operation(
        method="get",
        path="/health",
        id="getHealth",
        tag="system",
        summary="Whether the process works",
        answers={
            200: _json("It does.", answers.Health, {"status": "ok", "version": "0.1.0"}),
            503: _json("It does not.", answers.Health, {"status": "unavailable", "reason": "the projection ended: …"}),
        },
    ),
    Operation(
        method="get",
        path="/ready",
        id="getReadiness",
        tag="system",
        summary="Whether a champion can answer",
        answers={
            200: _json("It can.", answers.Readiness, {"status": "ok"}),
            503: _json("Not yet.", answers.Readiness, examples.NOT_READY, "RetryAfter"),
        },
    ),
    Operation(
        method="get",
        path="/status",
        id="getStatus",
        tag="system",
        summary="Each service, its backlog and its last record; topics, trainings, alarms",
        answers={200: _json("The state.", answers.Status, examples.STATUS)},
        problems={503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/metrics",
        id="getMetrics",
        tag="system",
        summary="Metrics of the gateway for Prometheus",
        answers={200: Sent(description="The metrics.", media_type="text/plain")},
    ),
)
CONTRACT = (
    Operation(
        method="get",
        path="/openapi.json",
        id="getOpenApi",
        tag="contract",
        summary="This document (OpenAPI 3.1)",
        answers={200: Sent(description="The document.", type=answers.AnyObject)},
    ),
    Operation(
        method="get",
        path="/asyncapi.json",
        id="getAsyncApi",
        tag="contract",
        summary="The topics and their records (AsyncAPI 3)",
        answers={200: Sent(description="The document.", type=answers.AnyObject)},
    ),
    Operation(
        method="get",
        path="/schemas.json",
        id="getSchemas",
        tag="contract",
        summary="Every record as one JSON Schema (2020-12)",
        answers={200: Sent(description="The schema.", type=answers.AnyObject)},
    ),
    Operation(
        method="get",
        path="/schemas/{name}",
        id="getSchema",
        tag="contract",
        summary="One record as JSON Schema (2020-12)",
        parameters=("schema_name",),
        answers={200: Sent(description="The schema.", type=answers.AnyObject, media_type="application/schema+json")},
        problems={404: ("unknown-schema",)},
    ),
    Operation(method="get", path="/", id="getPage", tag="pages", summary="The first page", answers={200: _HTML}),
    Operation(method="get", path="/docs", id="getSwaggerUi", tag="pages", summary="Try the API", answers={200: _HTML}),
    Operation(method="get", path="/redoc", id="getReDoc", tag="pages", summary="Read the API", answers={200: _HTML}),
)
OPERATIONS = (*FORECASTS, *SERIES, *TRAININGS, *MODELS, *INGESTS, *QUARANTINE, *SYSTEM, *CONTRACT)
TAGS = {
    "forecasts": "Asked for, waited for, read again.",
    "series": "What has been observed.",
    "trainings": "Model versions in the making.",
    "models": "Model versions, their skill, and which of them answers.",
    "ingests": "Data that is fetched.",
    "quarantine": "Fetched rows that the quality gate holds back.",
    "system": "How the gateway and the services behind it are.",
    "contract": "The contract for programs.",
    "pages": "For people.",
}
