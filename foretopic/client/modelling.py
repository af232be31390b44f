"""Models and trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from foretopic.client.documents.models import (
    Deployment,
    Model,
    ModelList,
    Training,
    TrainingAccepted,
    TrainingHistory,
    TrainingLine,
)
from foretopic.client.event_text import Event
from foretopic.client.offered import following, listing, operation, work
from foretopic.client.session import change, path, read
from foretopic.client.steps import Call, Events, Pages, Started

_SILENCE_SECONDS = 60.0
_ENDED = ("succeeded", "failed", "cancelled")


def get_training(training_id: str) -> Call[Training]:
    """Look up a training."""
    return read(path("/api/v1/trainings/{one}", one=training_id), Training)


def has_ended(training: Training) -> bool:
    """Tell whether a training has ended."""
    return training.state in _ENDED


def training_fault(training: Training) -> str:
    """Return what went wrong of a training that has ended; empty: nothing."""
    if training.state == "succeeded":
        return ""
    return f"the training {training.training_id} of {training.model} {training.state}: {training.reason}"


class Modelling:
    """Models and how they come to be."""

    @work
    def start_training(
        self,
        /,
        series_id: str | None = None,
        *,
        series_ids: Sequence[str] | None = None,
        algorithm: str | None = None,
        horizon: int | None = None,
        key: str | None = None,
        **recipe: Any,
    ) -> Started[TrainingAccepted, Training]:
        """Train a model on series; ``recipe`` takes every other field of the request body."""
        named = {"series_id": series_id, "series_ids": series_ids, "algorithm": algorithm, "horizon": horizon}
        return Started(
            call=change("POST", "/api/v1/trainings", TrainingAccepted, named | recipe, key=key),
            look=lambda asker, accepted: asker.flow(get_training(accepted.training_id)),
            has_ended=has_ended,
            fault=training_fault,
        )

    @operation
    def get_training(self, training_id: str) -> Call[Training]:
        """Return how a training goes."""
        return get_training(training_id)

    @operation
    def cancel_training(self, training_id: str) -> Call[Training]:
        """Ask for the end of a training."""
        return change("DELETE", path("/api/v1/trainings/{one}", one=training_id), Training)

    @following
    def follow_training(self, training_id: str, *, after: str = "") -> Events:
        """Yield how a training goes, to its end."""

        def is_last(event: Event) -> bool:
            return isinstance(event.data, Mapping) and event.data.get("state") in _ENDED

        target = path("/api/v1/trainings/{one}/events", one=training_id)
        return Events(Call(method="GET", path=target, timeout_seconds=_SILENCE_SECONDS), after, is_last)

    @listing
    def list_trainings(
        self,
        *,
        series_id: str | None = None,
        model: str | None = None,
        version: str | None = None,
        status: str | None = None,
        from_time: datetime | None = None,
        to_time: datetime | None = None,
        project: str | None = None,
        requester: str | None = None,
        cause: str | None = None,
        limit: int | None = None,
    ) -> Pages[TrainingLine]:
        """Yield trainings, the newest first; ``limit`` is of one page."""
        call = read(
            "/api/v1/trainings",
            TrainingHistory,
            **{"from": from_time, "to": to_time},
            series_id=series_id,
            model=model,
            version=version,
            status=status,
            project=project,
            requester=requester,
            cause=cause,
            limit=limit,
        )
        return Pages(call, "trainings", TrainingLine)

    @operation
    def list_models(self) -> Call[ModelList]:
        """Return every model that may be seen, with its versions."""
        return read("/api/v1/models", ModelList)

    @operation
    def get_model(self, model: str) -> Call[Model]:
        """Return a model with its versions, the newest first."""
        return read(path("/api/v1/models/{one}", one=model), Model)

    @operation
    def deploy_version(
        self,
        model: str,
        version: str,
        *,
        role: str | None = None,
        reason: str | None = None,
        key: str | None = None,
    ) -> Call[Deployment]:
        """Give a version a role; `champion` answers from then on."""
        body = {"version": version, "role": role, "reason": reason}
        return change("POST", path("/api/v1/models/{one}/deploy", one=model), Deployment, body, key=key)
