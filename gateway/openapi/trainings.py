"""The operations on trainings."""

from __future__ import annotations

from typing import Literal

from gateway.answers import Answer, Count, Fraction
from gateway.bodies import TrainingBody
from gateway.openapi.examples import MODEL_NAME, SERIES_ID
from gateway.openapi.operation import JsonObject, Operation, Sent, json_answer
from gateway.openapi.problem_kinds import STARTING
from schemas.record import Id, ModelName, SeriesId
from schemas.trainings import TrainingState


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


TRAINING_BODY: JsonObject = {"series_id": SERIES_ID, "algorithm": "lstm", "horizon": 10, "window_size": 20}
TRAINING_FEATURES_BODY: JsonObject = {
    "series_id": "shop/berlin@1d",
    "target": "sales",
    "algorithm": "gru",
    "horizon": 42,
    "window_size": 90,
    "covariates": {"promo": "known-future"},
    "features": [
        {"name": "lag", "window_size": 7},
        {"name": "relative-strength-index", "window_size": 14},
        {"name": "rolling-quantile", "window_size": 28, "parameters": {"quantile": 0.9}},
    ],
    "step_features": [
        {"name": "day-of-week"},
        {"name": "holiday", "option": "DE/BE"},
        {"name": "known", "columns": ["promo"]},
        {"name": "matched-mean", "columns": ["day-of-week", "promo"], "order": 4},
    ],
}
TRAINING_ACCEPTED: JsonObject = {"training_id": "training-1", "state": "queued", "model": MODEL_NAME}
TRAINING: JsonObject = {
    "training_id": "training-1",
    "model": MODEL_NAME,
    "series_id": SERIES_ID,
    "state": "progress",
    "is_cancel_requested": False,
    "sequence": 14,
    "fraction": 0.42,
    "stage": "fitting",
    "epoch": 12,
    "losses": {"train": 0.0123, "validation": 0.0131},
}
EVENT_STREAM = (
    "id: 17\nevent: progress\n"
    'data: {"training_id":"training-1","model":"market/AAPL-1d","series_id":"market/AAPL@1d","sequence":14,'
    '"state":"progress","fraction":0.42,"stage":"fitting","epoch":12}\n\n'
)

TRAININGS = (
    Operation(
        method="post",
        path="/api/v1/trainings",
        id="startTraining",
        counts_as="training",
        tag="trainings",
        summary="Ask for a model version",
        description=(
            "Exactly one of `series_id` and `series_ids` is given. The first release of a model becomes its champion; "
            "later ones wait for a deployment."
        ),
        parameters=("IdempotencyKey",),
        body=TrainingBody,
        examples={"lstm": TRAINING_BODY, "features": TRAINING_FEATURES_BODY},
        answers={202: json_answer("Asked.", TrainingAccepted, TRAINING_ACCEPTED, "Location")},
        problems={
            404: ("unknown-series", "unknown-project"),
            422: ("idempotency-key-reused", "no-observations"),
            **STARTING,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/trainings/{training_id}",
        id="getTraining",
        tag="trainings",
        summary="How a training goes",
        description=(
            "Its newest event: the state, the part that is done and, once it has succeeded, the version. `GET "
            "/api/v1/trainings/{training_id}/events` tells the same as it happens."
        ),
        parameters=("training_id",),
        answers={200: json_answer("The training.", Training, TRAINING)},
        problems={404: ("unknown-training",), **STARTING},
    ),
    Operation(
        method="delete",
        path="/api/v1/trainings/{training_id}",
        id="cancelTraining",
        is_repeatable=True,
        tag="trainings",
        summary="Cancel a training",
        description=(
            "The trainer stops at its next step; the training is `cancelled` from then on. One that has ended is "
            "refused with 409."
        ),
        parameters=("training_id",),
        answers={202: json_answer("Cancellation asked for.", Training, {**TRAINING, "is_cancel_requested": True})},
        problems={404: ("unknown-training",), 409: ("training-ended",), **STARTING},
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
        answers={200: Sent(description="The events.", media_type="text/event-stream", example=EVENT_STREAM)},
        problems={404: ("unknown-training",), **STARTING},
    ),
)
