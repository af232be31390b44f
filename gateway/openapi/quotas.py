"""Quotas of projects."""

from __future__ import annotations

from gateway.openapi.operation import Operation, Sent
from gateway.routes.quotas import ProjectQuotas, QuotasBody

_EXAMPLE = {
    "project_id": "shop-7k2m9q",
    "quotas": {"requests_a_minute": None, "forecasts_a_day": 5000, "trainings_a_day": None},
    "in_force": {"requests_a_minute": 0, "forecasts_a_day": 5000, "trainings_a_day": 1000},
    "used_today": {"forecasts": 188, "trainings": 2},
    "resets_at": "2026-11-22T00:00:00Z",
}
_PATH = "/api/v1/projects/{project_id}/quotas"

QUOTAS = (
    Operation(
        method="get",
        path=_PATH,
        id="getQuotas",
        tag="projects",
        summary="What a project may use, and what it has used today",
        description="Of a public project: what your organisation may ask of it. Use is counted by the second.",
        parameters=("project_id",),
        answers={200: Sent(description="The quotas.", type=ProjectQuotas, example=_EXAMPLE)},
        problems={404: ("unknown-project",), 422: ("invalid-parameter",)},
    ),
    Operation(
        method="patch",
        path=_PATH,
        id="changeQuotas",
        tag="projects",
        summary="Change the quotas of a project",
        description="For operators. What is left out stays; null: as the settings of the gateway say; 0: no limit.",
        parameters=("project_id",),
        body=QuotasBody,
        examples={"more": {"forecasts_a_day": 5000}},
        answers={200: Sent(description="The quotas.", type=ProjectQuotas, example=_EXAMPLE)},
        problems={404: ("unknown-project",), 409: ("project-not-registered",), 422: ("invalid-parameter",)},
    ),
)
