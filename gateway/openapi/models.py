"""The operations on models."""

from __future__ import annotations

from gateway.answers import Answer
from gateway.bodies import DeployBody
from gateway.openapi.examples import MODEL_NAME, SERIES_ID, VERSION
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import QUERY, STARTING
from schemas.models import Deployment, FoldMetrics, LeaderboardEntry, MetricSpread, Role, Version
from schemas.record import Digest, Freq, Id, Level, ModelName, SeriesId


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
    #: The test part cutoff by cutoff, the oldest first, 50 at most: more are thinned evenly. Empty for a release that
    #: does not say.
    fold_metrics: tuple[FoldMetrics, ...]
    #: Method -> metric -> mean and standard deviation over the cutoffs, also those that are thinned away.
    fold_spread: dict[str, dict[str, MetricSpread]]
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


MODEL: JsonObject = {
    "model": MODEL_NAME,
    "champion": VERSION,
    "versions": [
        {
            "version": VERSION,
            "role": "champion",
            "training_id": "training-1",
            "algorithm": "lstm",
            "series_ids": [SERIES_ID],
            "target": "close",
            "columns": ["close"],
            "freq": "1d",
            "calendar": "XNYS",
            "unit": "USD",
            "window_size": 20,
            "horizon": 10,
            "levels": [80.0, 95.0],
            "metrics": {"model": {"mae": 2.31}, "last-value": {"mae": 2.28}},
            "skill": {"last-value": -0.013},
            "folds": 250,
            "calibration_folds": 650,
            "fallback_from": None,
            "fallback_reason": None,
            "leaderboard": [
                {
                    "algorithm": "lstm",
                    "state": "chosen",
                    "rung": 2,
                    "folds": 672,
                    "skill": {"last-value": 0.004},
                    "metrics": {"mae": 4.81, "mase": 2.4},
                    "reason": "the least loss of 5 on 672 folds before the test part",
                },
                {"algorithm": "nhits", "state": "not-reached"},
            ],
            "fold_metrics": [
                {
                    "cutoff": "2025-01-02T00:00:00Z",
                    "first_time": "2025-01-03T00:00:00Z",
                    "last_time": "2025-01-16T00:00:00Z",
                    "forecasts": 1,
                    "metrics": {"model": {"mae": 3.02, "crps": 2.11}, "last-value": {"mae": 2.95}},
                },
            ],
            "fold_spread": {
                "model": {"mae": {"mean": 2.31, "deviation": 1.48, "folds": 250}},
                "last-value": {"mae": {"mean": 2.28, "deviation": 1.5, "folds": 250}},
            },
            "artefact_digest": VERSION + "0" * 48,
            "code_version": "0.1.0",
        }
    ],
}
DEPLOY_BODY: JsonObject = {"version": VERSION, "role": "champion", "reason": "better on the last quarter"}
DEPLOYMENT: JsonObject = {
    "deployment_id": "deployment-1",
    "model": MODEL_NAME,
    "version": VERSION,
    "role": "champion",
    "previous": "fedcba9876543210",
    "reason": "better on the last quarter",
}

MODELS = (
    Operation(
        method="get",
        path="/api/v1/models",
        id="listModels",
        tag="models",
        summary="Every model with its versions, their skill, and which of them answers",
        description=(
            "Each version with what it was trained on and the skill that it showed against the baselines, on the same "
            "folds."
        ),
        answers={200: json_answer("The models.", ModelList, {"models": [MODEL]})},
        problems=QUERY,
    ),
    Operation(
        method="get",
        path="/api/v1/models/{model}",
        id="getModel",
        tag="models",
        summary="One model",
        description="What the list says of it, with every version, the newest first.",
        parameters=("model",),
        answers={200: json_answer("The model.", Model, MODEL)},
        problems={404: ("unknown-model",), **QUERY},
    ),
    Operation(
        method="post",
        path="/api/v1/models/{model}/deploy",
        id="deployVersion",
        tag="models",
        summary="Give a version a role: champion, challenger or shadow",
        description=(
            "The `champion` answers, and replaces the champion before; a `challenger` and a `shadow` forecast beside "
            "it and are only scored. To go back, deploy the version before. Answers 200 once this gateway has read it, "
            "else 202."
        ),
        parameters=("model", "IdempotencyKey", "Prefer"),
        body=DeployBody,
        examples={"champion": DEPLOY_BODY},
        answers={
            200: json_answer("Deployed, and seen by this gateway.", Deployment, DEPLOYMENT),
            202: json_answer("Deployed; this gateway has not read it yet.", Deployment, DEPLOYMENT),
        },
        problems={
            404: ("unknown-model", "unknown-version"),
            422: ("idempotency-key-reused",),
            **STARTING,
        },
    ),
)
