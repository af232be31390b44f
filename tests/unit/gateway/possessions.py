"""What a tenant has: one real object for each path parameter, planted where the gateway finds it.

A new resource gets a line in `possessions`: the name of its path parameter, and the id of an object that the tenant made.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from msgspec import structs
from sqlalchemy import insert

from gateway.accounts.database import new_row_id
from gateway.accounts.tables import DELIVERIES
from schemas import topics
from schemas.dead_letters import dead_letter_id
from schemas.forecasts import default_model_name, forecast_id_of
from tests import factories
from tests.unit.gateway.tenants import Tenant, Tenants


def mark_of(tenant: Tenant) -> str:
    """Return what stands in whatever the tenant names, besides the ids of its own."""
    return f"{tenant.project_id.partition('-')[0]}-mark"


def series_of(tenant: Tenant) -> str:
    return f"{tenant.project_id}/{mark_of(tenant)}@1d"


def plant(both: Tenants, tenant: Tenant) -> None:
    """Write what a tenant's project has to the log."""
    publish, series_id, name = both.world.publish, series_of(tenant), tenant.project_id
    model, asked_by = default_model_name(series_id), f"{tenant.organisation_id}/user/{tenant.editor.user_id}"
    of_series: dict[str, Any] = {"series_id": series_id}
    publish(topics.OBSERVATIONS, factories.observation_batch(series_id=series_id))
    publish(topics.OBSERVATIONS, _restated(series_id, mark_of(tenant)))
    publish(topics.MODELS, factories.model_release(model=model, series_ids=(series_id,)))
    publish(topics.DEPLOYMENTS, factories.deployment(deployment_id=f"{name}-deployment", model=model))
    training = {"model": model, "series_ids": (series_id,), "requester": asked_by}
    publish(topics.TRAINING_REQUESTS, factories.training_request(f"{name}-training", **training))
    ended = {"model": model, "state": "succeeded", "version": factories.VERSION}
    publish(topics.TRAINING_EVENTS, factories.training_event(f"{name}-training", **of_series, **ended))
    publish(topics.INGEST_REQUESTS, factories.ingest_request(f"{name}-ingest", **of_series, requester=asked_by))
    publish(topics.INGEST_EVENTS, factories.ingest_event(f"{name}-ingest", **of_series, state="failed", reason=name))
    publish(topics.INGEST_SCHEDULES, factories.schedule(f"{name}-schedule", **of_series))
    publish(topics.QUARANTINE, factories.observations_quarantined(f"{name}-held", batch=of_series))
    asked = factories.forecast_request(
        f"{name}-request", **of_series, as_of=factories.as_of(), requester=asked_by, batch_id=f"{name}-batch"
    )
    publish(topics.FORECAST_REQUESTS, asked)
    publish(topics.FORECASTS, _answered(f"{name}-request", series_id))
    both.world.settle()


def _restated(series_id: str, reason: str) -> Any:
    return factories.observation_batch(
        series_id=series_id, rows=1, columns={"close": (7.0,)}, kind="restatement", reason=reason
    )


def _answered(request_id: str, series_id: str) -> Any:
    answer = factories.forecast_issued(request_id)
    model = factories.forecast_issued().model
    cutoff = factories.START + timedelta(days=29)
    forecast_id = forecast_id_of(
        series_id=series_id,
        cutoff=cutoff,
        horizon=3,
        levels=(80.0,),
        model_digest=answer.lineage.model_digest,
        input_digest=answer.lineage.input_digest,
    )
    used = structs.replace(model, name=default_model_name(series_id))
    return factories.forecast_issued(request_id, series_id=series_id, forecast_id=forecast_id, model=used)


def possessions(both: Tenants, tenant: Tenant) -> dict[str, str]:
    """Return path parameter -> the id of an object of the tenant; the objects stand once `plant` was called."""
    name = tenant.project_id
    made: dict[str, Callable[[], str]] = {
        "series_id": lambda: series_of(tenant),
        "model": lambda: default_model_name(series_of(tenant)),
        "training_id": lambda: f"{name}-training",
        "ingest_id": lambda: f"{name}-ingest",
        "quarantine_id": lambda: f"{name}-held",
        "dead_letter_id": lambda: _letter(both, tenant),
        "forecast_or_request_id": lambda: f"{name}-request",
        "batch_id": lambda: _batch(both, tenant),
        "upload_id": lambda: _upload(both, tenant),
        "project_id": lambda: name,
        "organisation_id": lambda: tenant.organisation_id,
        "user_id": lambda: tenant.viewer.user_id,
        "requester": lambda: f"{tenant.organisation_id}/user/{tenant.editor.user_id}",
        "key_id": lambda: tenant.admin.key_id,
        "invitation_id": lambda: _posted(
            both,
            tenant,
            f"/api/v1/organisations/{tenant.organisation_id}/invitations",
            {"email": f"{mark_of(tenant)}@example.org", "role": "viewer"},
            "invitation_id",
        ),
    }
    webhook_id, delivery_id = _webhook(both, tenant)
    return {parameter: make() for parameter, make in made.items()} | {
        "webhook_id": webhook_id,
        "delivery_id": delivery_id,
    }


def _posted(both: Tenants, tenant: Tenant, url: str, body: dict[str, Any], field: str) -> str:
    answer = both.world.client.post(url, json=body, headers=tenant.admin.headers)
    assert answer.status_code in (200, 201, 202), (url, answer.text)
    return str(answer.get_json()[field])


def _letter(both: Tenants, tenant: Tenant) -> str:
    letter = factories.dead_letter(key=series_of(tenant).encode(), offset=len(tenant.project_id))
    both.world.publish(topics.DEAD_LETTERS, letter)
    both.world.settle()
    return dead_letter_id(letter.topic, letter.partition, letter.offset)


def _batch(both: Tenants, tenant: Tenant) -> str:
    body = {"horizon": 2, "forecasts": [{"series_id": series_of(tenant)}]}
    headers = {"Prefer": "wait=0", **tenant.editor.headers}
    answer = both.world.client.post("/api/v1/forecasts:batch", json=body, headers=headers)
    both.world.settle()
    return str(answer.get_json()["batch_id"])


def _upload(both: Tenants, tenant: Tenant) -> str:
    content = f"date,{mark_of(tenant)}\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n"
    query = {"filename": f"{mark_of(tenant)}.csv", "project": tenant.project_id}
    answer = both.world.client.post(
        "/api/v1/uploads",
        data=content,
        query_string=query,
        content_type="application/octet-stream",
        headers=tenant.editor.headers,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.get_json()["upload_id"])


def _webhook(both: Tenants, tenant: Tenant) -> tuple[str, str]:
    """Make a webhook with a delivery that has arrived; it wants what nothing here makes happen."""
    made = both.world.service.webhooks.rows.create(
        tenant.project_id,
        url=f"https://{mark_of(tenant)}.example",
        events=("training.cancelled",),
        series_id=None,
        model=None,
        created_by=tenant.admin.user_id,
        organisation_id=tenant.organisation_id,
        limit=1000,
    )
    assert made is not None
    webhook_id, delivery_id = made[0].webhook_id, f"msg_{new_row_id('x')}"
    row = {"delivery_id": delivery_id, "webhook_id": webhook_id, "event": "training.cancelled", "body": b"{}"}
    row |= {"state": "delivered", "attempts": 1, "created_us": both.world.accounts.now_us(), "last_error": ""}
    with both.world.accounts.write() as connection:
        connection.execute(insert(DELIVERIES), row)
    return webhook_id, delivery_id
