"""Quotas of projects and organisations."""

from __future__ import annotations

from gateway.openapi.operation import Operation, Sent
from gateway.openapi.problem_kinds import NO_ORGANISATION, QUERY
from gateway.routes.quotas import OrganisationQuotasBody, OrganisationQuotasInForce, ProjectQuotas, QuotasBody

_EXAMPLE = {
    "project_id": "shop-7k2m9q",
    "quotas": {
        "requests_a_minute": None,
        "forecasts_a_day": 5000,
        "trainings_a_day": None,
        "rows_a_day": None,
        "series": None,
        "schedules": None,
    },
    "in_force": {
        "requests_a_minute": 0,
        "forecasts_a_day": 5000,
        "trainings_a_day": 1000,
        "rows_a_day": 10_000_000,
        "series": 100_000,
        "schedules": 1000,
    },
    "used_today": {"forecasts": 188, "trainings": 2, "rows": 9600},
    "in_use": {"series": 400, "schedules": 3},
    "resets_at": "2026-11-22T00:00:00Z",
}
_OF_ORGANISATION = {
    "organisation_id": "org_5f2b1c9e0d7a46338b1f0a9c",
    "quotas": {
        "projects": 500,
        "upload_bytes": None,
        "api_keys": None,
        "members": None,
        "forecasts_a_day": None,
        "trainings_a_day": None,
        "rows_a_day": None,
    },
    "in_force": {
        "projects": 500,
        "upload_bytes": 1_073_741_824,
        "api_keys": 200,
        "members": 500,
        "forecasts_a_day": 500_000,
        "trainings_a_day": 5000,
        "rows_a_day": 50_000_000,
    },
    "used_today": {"forecasts": 5210, "trainings": 14, "rows": 211_000},
    "in_use": {"projects": 31, "upload_bytes": 48_120_332, "api_keys": 4, "members": 12},
    "resets_at": "2026-11-22T00:00:00Z",
}
_ORGANISATION_PATH = "/api/v1/organisations/{organisation_id}/quotas"
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
    Operation(
        method="get",
        path=_ORGANISATION_PATH,
        id="getOrganisationQuotas",
        tag="organisations",
        summary="What an organisation may have at once and use in a day, and what it has and uses",
        description=(
            "Its projects, members and API keys, and the room of its uploads; forecasts, trainings and rows of a day "
            "over all its projects. 0: no limit."
        ),
        parameters=("organisation_id",),
        answers={200: Sent(description="The quotas.", type=OrganisationQuotasInForce, example=_OF_ORGANISATION)},
        problems={**NO_ORGANISATION, **QUERY},
    ),
    Operation(
        method="patch",
        path=_ORGANISATION_PATH,
        id="changeOrganisationQuotas",
        tag="organisations",
        summary="Change what an organisation may have at once and use in a day",
        description=(
            "For operators. What is left out stays; null: as the settings of the gateway say; 0: no limit. What is "
            "there already stays where a quota becomes less."
        ),
        parameters=("organisation_id",),
        body=OrganisationQuotasBody,
        examples={"more": {"projects": 500}},
        answers={200: Sent(description="The quotas.", type=OrganisationQuotasInForce, example=_OF_ORGANISATION)},
        problems={**NO_ORGANISATION, 422: ("invalid-parameter",)},
    ),
)
