"""Every operation of the HTTP API with what it takes, what it answers and how it refuses."""

from __future__ import annotations

from gateway import openapi_answers as answers
from gateway import openapi_examples as examples
from gateway.bodies import DecisionBody, DeployBody, IngestBody, TrainingBody
from gateway.openapi_accounts import ACCOUNTS
from gateway.openapi_batches import BATCHES
from gateway.openapi_compatible import COMPATIBLE
from gateway.openapi_dead_letters import DEAD_LETTERS
from gateway.openapi_events import EVENTS
from gateway.openapi_history import HISTORY
from gateway.openapi_observations import OBSERVATIONS
from gateway.openapi_parts import Operation, Sent
from gateway.openapi_projects import PROJECTS
from gateway.openapi_quotas import QUOTAS
from gateway.openapi_series import FORECASTS, SERIES
from gateway.openapi_shared import BODY_PROBLEMS, QUERY, WRITE_503, json_answer
from gateway.openapi_sources import SOURCES
from gateway.openapi_uploads import UPLOADS
from gateway.openapi_webhooks import WEBHOOKS
from schemas.models import Deployment

_HTML = Sent(description="The page.", media_type="text/html", example=examples.HTML)

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
        answers={202: json_answer("Asked.", answers.TrainingAccepted, examples.TRAINING_ACCEPTED, "Location")},
        problems={
            **BODY_PROBLEMS,
            404: ("unknown-series",),
            422: ("invalid-body", "idempotency-key-reused", "no-observations"),
            503: WRITE_503,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/trainings/{training_id}",
        id="getTraining",
        tag="trainings",
        summary="How a training goes",
        parameters=("training_id",),
        answers={200: json_answer("The training.", answers.Training, examples.TRAINING)},
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
            202: json_answer(
                "Cancellation asked for.", answers.Training, {**examples.TRAINING, "is_cancel_requested": True}
            )
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
        answers={200: json_answer("The models.", answers.ModelList, {"models": [examples.MODEL]})},
        problems={**QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/models/{model}",
        id="getModel",
        tag="models",
        summary="One model",
        parameters=("model",),
        answers={200: json_answer("The model.", answers.Model, examples.MODEL)},
        problems={404: ("unknown-model",), **QUERY, 503: ("broker-unavailable",)},
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
            200: json_answer("Deployed, and seen by this gateway.", Deployment, examples.DEPLOYMENT),
            202: json_answer("Deployed; this gateway has not read it yet.", Deployment, examples.DEPLOYMENT),
        },
        problems={
            **BODY_PROBLEMS,
            404: ("unknown-model", "unknown-version"),
            422: ("invalid-body", "idempotency-key-reused"),
            503: WRITE_503,
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
        answers={202: json_answer("Asked.", answers.IngestAccepted, examples.INGEST_ACCEPTED, "Location")},
        problems={**BODY_PROBLEMS, 422: ("invalid-body", "idempotency-key-reused"), 503: WRITE_503},
    ),
    Operation(
        method="get",
        path="/api/v1/ingests/{ingest_id}",
        id="getIngest",
        tag="ingests",
        summary="What became of an ingest",
        parameters=("ingest_id",),
        answers={200: json_answer("The ingest.", answers.Ingest, examples.INGEST)},
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
            200: json_answer(
                "A page.", answers.QuarantinePage, {"quarantine": [examples.QUARANTINE_LINE], "next": None}
            )
        },
        problems={404: ("unknown-quarantine",), **QUERY, 503: ("broker-unavailable", "starting")},
    ),
    Operation(
        method="get",
        path="/api/v1/quarantine/{quarantine_id}",
        id="getQuarantined",
        tag="quarantine",
        summary="Held rows with the rules that they break",
        parameters=("quarantine_id",),
        answers={200: json_answer("The rows.", answers.Quarantined, examples.QUARANTINED)},
        problems={404: ("unknown-quarantine",), **QUERY, 503: ("broker-unavailable", "starting")},
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
            answers={202: json_answer("Decided.", answers.QuarantineLine, example, "Location")},
            problems={
                **BODY_PROBLEMS,
                400: ("empty-body", "malformed-json"),
                404: ("unknown-quarantine",),
                409: ("already-decided",),
                422: ("invalid-body",),
                503: WRITE_503,
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
            200: json_answer("It does.", answers.Health, {"status": "ok", "version": "0.1.0"}),
            503: json_answer(
                "It does not.",
                answers.Health,
                {"status": "unavailable", "reason": "the projection ended; the log says why"},
            ),
        },
    ),
    Operation(
        method="get",
        path="/ready",
        id="getReadiness",
        tag="system",
        summary="Whether a champion can answer",
        answers={
            200: json_answer("It can.", answers.Readiness, {"status": "ok"}),
            503: json_answer("Not yet.", answers.Readiness, examples.NOT_READY, "RetryAfter"),
        },
    ),
    Operation(
        method="get",
        path="/status",
        id="getStatus",
        tag="system",
        summary="Each service, its backlog and its last record; topics, trainings, alarms",
        answers={200: json_answer("The state.", answers.Status, examples.STATUS)},
        problems={503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/metrics",
        id="getMetrics",
        tag="system",
        summary="Metrics of the gateway for Prometheus",
        answers={200: Sent(description="The metrics.", media_type="text/plain", example=examples.METRICS)},
    ),
)
CONTRACT = (
    Operation(
        method="get",
        path="/openapi.json",
        id="getOpenApi",
        tag="contract",
        summary="This document (OpenAPI 3.1)",
        answers={200: Sent(description="The document.", type=answers.AnyObject, example=examples.OPENAPI)},
    ),
    Operation(
        method="get",
        path="/asyncapi.json",
        id="getAsyncApi",
        tag="contract",
        summary="The topics and their records (AsyncAPI 3)",
        answers={200: Sent(description="The document.", type=answers.AnyObject, example=examples.ASYNCAPI)},
    ),
    Operation(
        method="get",
        path="/schemas.json",
        id="getSchemas",
        tag="contract",
        summary="Every record as one JSON Schema (2020-12)",
        answers={200: Sent(description="The schema.", type=answers.AnyObject, example=examples.SCHEMAS)},
    ),
    Operation(
        method="get",
        path="/schemas/{name}",
        id="getSchema",
        tag="contract",
        summary="One record as JSON Schema (2020-12)",
        parameters=("schema_name",),
        answers={
            200: Sent(
                description="The schema.",
                type=answers.AnyObject,
                media_type="application/schema+json",
                example=examples.SCHEMAS["ForecastStep"],
            )
        },
        problems={404: ("unknown-schema",)},
    ),
    Operation(method="get", path="/", id="getPage", tag="pages", summary="The first page", answers={200: _HTML}),
    Operation(method="get", path="/docs", id="getSwaggerUi", tag="pages", summary="Try the API", answers={200: _HTML}),
    Operation(method="get", path="/redoc", id="getReDoc", tag="pages", summary="Read the API", answers={200: _HTML}),
)
OPERATIONS = (
    *FORECASTS,
    *HISTORY,
    *BATCHES,
    *EVENTS,
    *WEBHOOKS,
    *SERIES,
    *TRAININGS,
    *MODELS,
    *INGESTS,
    *OBSERVATIONS,
    *SOURCES,
    *UPLOADS,
    *PROJECTS,
    *QUOTAS,
    *QUARANTINE,
    *DEAD_LETTERS,
    *ACCOUNTS,
    *SYSTEM,
    *COMPATIBLE,
    *CONTRACT,
)
TAGS = {
    "forecasts": "Asked for, waited for, read again.",
    "events": "Told as they happen.",
    "webhooks": "Events, sent to where the people of a project say.",
    "series": "What has been observed.",
    "trainings": "Model versions in the making.",
    "models": "Model versions, their skill, and which of them answers.",
    "ingests": "Data that is fetched.",
    "sources": "Series that are fetched by themselves.",
    "uploads": "Files that hold one series or many.",
    "projects": "Series, models, forecasts and schedules that belong together, and predictions for rows of a table.",
    "quarantine": "Fetched rows that the quality gate holds back.",
    "dead-letters": "Messages that no service could handle; for operators.",
    "accounts": "Signing in and up, and who one is.",
    "organisations": "Who works together: members, their roles, invitations.",
    "keys": "API keys, for programs.",
    "users": "Users and the audit log.",
    "system": "How the gateway and the services behind it are.",
    "compatible": "Deprecated doors for clients of other systems; each says what takes its place.",
    "contract": "The contract for programs.",
    "pages": "For people.",
}
