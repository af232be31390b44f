"""Projects: made of a file, trained, asked; and their webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from foretopic.client.documents.forecasts import PendingForecast
from foretopic.client.documents.models import Training
from foretopic.client.documents.projects import (
    CreatedProject,
    Prediction,
    Project,
    ProjectLine,
    ProjectList,
    ProjectQuotas,
    ProjectRemoved,
    ProjectTrainings,
)
from foretopic.client.documents.webhooks import (
    DeliveryList,
    Replayed,
    Webhook,
    WebhookDelivery,
    WebhookList,
    WebhookWithSecret,
)
from foretopic.client.errors import WaitedTooLong
from foretopic.client.forecasting import LONGEST_WAIT_SECONDS, waiting
from foretopic.client.modelling import get_training, has_ended, training_fault
from foretopic.client.offered import listing, operation, work
from foretopic.client.session import change, done, path, read
from foretopic.client.steps import Asker, Call, Flow, Pages, Started

_UPLOAD_SECONDS = 600.0
_PROJECT = "/api/v1/projects/{one}"
_WEBHOOK = "/api/v1/projects/{one}/webhooks/{two}"


class _Pending(PendingForecast, frozen=True, kw_only=True):
    """A prediction that is on its way, of one series or of several."""

    request_id: str = ""
    batch_id: str = ""


class Projects:
    """Projects and what is done in them."""

    @operation
    def list_projects(self) -> Call[ProjectList]:
        """Return the projects of the caller, and the public ones."""
        return read("/api/v1/projects", ProjectList)

    @operation
    def create_project(
        self,
        /,
        name: str | None = None,
        *,
        file: Path | None = None,
        description: str | None = None,
        organisation_id: str | None = None,
        **columns: Any,
    ) -> Call[CreatedProject]:
        """Make a project, of a CSV or Parquet file or of nothing.

        Args:
            name: What it is called; that of the file unless given.
            file: Its series are loaded; `get_project` says how that goes.
            description: For people.
            organisation_id: Whose it is; the caller's first unless given.
            columns: What the columns of the file are, where a guess would be wrong: ``time``, ``series``, ``target``,
                ``columns``, ``known_future``, ``freq``, ``calendar``, ``force``.
        """
        named = {"name": name, "description": description, "organisation_id": organisation_id}
        if file is None:
            return change("POST", "/api/v1/projects", CreatedProject, {**named, **columns})
        return Call(
            method="POST",
            path="/api/v1/projects",
            query={**named, **columns, "filename": file.name},
            file=file,
            answers={201: CreatedProject},
            timeout_seconds=_UPLOAD_SECONDS,
        )

    @operation
    def get_project(
        self, project_id: str, *, limit: int | None = None, after_series: str | None = None
    ) -> Call[Project]:
        """Return what is in a project, how its models did, and what goes on there."""
        return read(path(_PROJECT, one=project_id), Project, limit=limit, after_series=after_series)

    @operation
    def change_project(
        self, project_id: str, *, name: str | None = None, description: str | None = None
    ) -> Call[ProjectLine]:
        """Give a project another name or description."""
        body = {"name": name, "description": description}
        return change("PATCH", path(_PROJECT, one=project_id), ProjectLine, body)

    @operation
    def remove_project(self, project_id: str) -> Call[ProjectRemoved]:
        """Remove a project."""
        return change("DELETE", path(_PROJECT, one=project_id), ProjectRemoved)

    @work
    def train(
        self,
        /,
        project_id: str,
        *,
        algorithm: str | None = None,
        horizon: int | None = None,
        target: str | None = None,
        series: Sequence[str] | None = None,
        known_future: Sequence[str] | None = None,
        key: str | None = None,
        **recipe: Any,
    ) -> Started[ProjectTrainings, tuple[Training, ...]]:
        """Train on the series of a project, with defaults from its data.

        ``recipe`` takes every other field of the request body. `wait` returns the trainings once all have ended.
        """
        body = {
            "algorithm": algorithm,
            "horizon": horizon,
            "target": target,
            "series": series,
            "known_future": known_future,
            **recipe,
        }

        def look(asker: Asker, begun: ProjectTrainings) -> Flow[tuple[Training, ...]]:
            found: tuple[Training, ...] = ()
            for one in begun.trainings:
                found += ((yield from asker.flow(get_training(one.training_id))),)
            return found

        return Started(
            call=change("POST", path(_PROJECT + "/train", one=project_id), ProjectTrainings, body, key=key),
            look=look,
            has_ended=lambda trainings: all(map(has_ended, trainings)),
            fault=lambda trainings: "; ".join(filter(None, map(training_fault, trainings))),
        )

    @operation
    def predict(
        self,
        project_id: str,
        rows: Sequence[Mapping[str, object]] = (),
        *,
        series: str | None = None,
        horizon: int | None = None,
        levels: Sequence[float] | None = None,
        model: str | None = None,
        wait_seconds: float = 60.0,
        key: str | None = None,
    ) -> Call[Prediction]:
        """Predict the target for rows that lie ahead, in the names of the file's columns.

        Raises:
            WaitedTooLong: It is not there yet; asked again with the same ``key`` it may be.
        """
        body = {"series": series, "rows": rows, "horizon": horizon, "levels": levels, "model": model}

        def there(_asker: Asker, answer: Prediction | _Pending) -> Flow[Prediction]:
            yield from ()
            if isinstance(answer, _Pending):
                raise WaitedTooLong(f"no prediction within {wait_seconds:g} s; the request stands", answer)
            return answer

        return Call(
            method="POST",
            path=path(_PROJECT + "/predict", one=project_id),
            answers={200: Prediction, 202: _Pending},
            body=body,
            then=there,
            **waiting(min(wait_seconds, LONGEST_WAIT_SECONDS), key),
        )

    @operation
    def get_quotas(self, project_id: str) -> Call[ProjectQuotas]:
        """Return what a project may use, and what it has used today."""
        return read(path(_PROJECT + "/quotas", one=project_id), ProjectQuotas)

    @operation
    def change_quotas(self, /, project_id: str, **quotas: int | None) -> Call[ProjectQuotas]:
        """Change what a project may use; ``None``: as the installation says. Operators only."""
        return Call(
            method="PATCH",
            path=path(_PROJECT + "/quotas", one=project_id),
            answers={200: ProjectQuotas},
            body=quotas,
            sends_none=True,
        )

    @operation
    def create_webhook(
        self,
        project_id: str,
        *,
        url: str,
        events: Sequence[str],
        series_id: str | None = None,
        model: str | None = None,
    ) -> Call[WebhookWithSecret]:
        """Have events of a project sent to a public address; the answer has the secret that signs, this once."""
        body = {"url": url, "events": events, "series_id": series_id, "model": model}
        target = path(_PROJECT + "/webhooks", one=project_id)
        return Call(method="POST", path=target, answers={201: WebhookWithSecret}, body=body, is_once=True)

    @operation
    def list_webhooks(self, project_id: str) -> Call[WebhookList]:
        """Return the webhooks of a project."""
        return read(path(_PROJECT + "/webhooks", one=project_id), WebhookList)

    @operation
    def get_webhook(self, project_id: str, webhook_id: str) -> Call[Webhook]:
        """Return a webhook."""
        return read(path(_WEBHOOK, one=project_id, two=webhook_id), Webhook)

    @operation
    def change_webhook(
        self,
        project_id: str,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        is_enabled: bool | None = None,
    ) -> Call[Webhook]:
        """Change where and what a webhook is told, or switch it off and on."""
        body = {"url": url, "events": events, "is_enabled": is_enabled}
        return change("PATCH", path(_WEBHOOK, one=project_id, two=webhook_id), Webhook, body)

    @operation
    def delete_webhook(self, project_id: str, webhook_id: str) -> Call[None]:
        """Remove a webhook."""
        return done("DELETE", path(_WEBHOOK, one=project_id, two=webhook_id))

    @operation
    def rotate_webhook_secret(self, project_id: str, webhook_id: str) -> Call[WebhookWithSecret]:
        """Make a new secret; the answer has it, this once."""
        target = path(_WEBHOOK + "/secret", one=project_id, two=webhook_id)
        return Call(method="POST", path=target, answers={200: WebhookWithSecret}, is_once=True)

    @operation
    def test_webhook(self, project_id: str, webhook_id: str) -> Call[WebhookDelivery]:
        """Send an event that only says that the webhook works."""
        return change("POST", path(_WEBHOOK + "/test", one=project_id, two=webhook_id), WebhookDelivery)

    @listing
    def list_deliveries(
        self, project_id: str, webhook_id: str, *, state: str | None = None, limit: int | None = None
    ) -> Pages[WebhookDelivery]:
        """Yield what a webhook was told, the newest first; ``limit`` is of one page."""
        target = path(_WEBHOOK + "/deliveries", one=project_id, two=webhook_id)
        return Pages(read(target, DeliveryList, state=state, limit=limit), "deliveries", WebhookDelivery)

    @operation
    def replay_delivery(self, project_id: str, webhook_id: str, delivery_id: str) -> Call[WebhookDelivery]:
        """Send a delivery again."""
        target = path(_WEBHOOK + "/deliveries/{three}/replay", one=project_id, two=webhook_id, three=delivery_id)
        return change("POST", target, WebhookDelivery)

    @operation
    def replay_failed_deliveries(
        self, project_id: str, webhook_id: str, *, since: datetime | None = None
    ) -> Call[Replayed]:
        """Send every delivery again that failed."""
        return Call(
            method="POST",
            path=path(_WEBHOOK + "/replay", one=project_id, two=webhook_id),
            query={"since": since},
            answers={202: Replayed},
        )
