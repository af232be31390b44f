"""What a project and an organisation may use, and what they use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from flask import Blueprint, Response
from msgspec import UNSET, Meta, UnsetType

from gateway import parameters
from gateway.access import Permission
from gateway.accounts.project_rows import Quotas
from gateway.answers import json_of
from gateway.bodies import Body, read_body
from gateway.callers import require_organisation
from gateway.guard import needs, principal
from gateway.limits.quotas import FORECAST, ROW, TRAINING
from gateway.limits.shares import OrganisationQuotas
from gateway.routes.projects import registered, require
from gateway.service import GatewayService

_Limit = Annotated[int, Meta(ge=0, le=2_000_000_000)] | UnsetType | None
_Bytes = Annotated[int, Meta(ge=0, le=2**53)] | UnsetType | None


class QuotasBody(Body, frozen=True, kw_only=True):
    """Quotas that become otherwise; null: as the settings of the installation say; 0: no limit."""

    requests_a_minute: _Limit = UNSET
    forecasts_a_day: _Limit = UNSET
    trainings_a_day: _Limit = UNSET
    rows_a_day: _Limit = UNSET
    series: _Limit = UNSET
    schedules: _Limit = UNSET


class QuotasInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a project; 0: no limit."""

    requests_a_minute: int
    forecasts_a_day: int
    trainings_a_day: int
    rows_a_day: int
    series: int
    schedules: int


class UsedToday(msgspec.Struct, frozen=True, kw_only=True):
    """What was used since the day (UTC) began."""

    forecasts: int
    trainings: int
    #: Of observations, that were brought in live or in files.
    rows: int


class InUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a project has now."""

    series: int
    schedules: int


class ProjectQuotas(msgspec.Struct, frozen=True, kw_only=True):
    """What a project may use; of a public one what your organisation may."""

    project_id: str
    #: Its own; null: as the settings of the installation say.
    quotas: Quotas
    in_force: QuotasInForce
    used_today: UsedToday
    in_use: InUse
    #: UTC; when the day ends.
    resets_at: datetime


class OrganisationQuotasBody(Body, frozen=True, kw_only=True):
    """Quotas that become otherwise; null: as the settings of the installation say; 0: no limit."""

    projects: _Limit = UNSET
    upload_bytes: _Bytes = UNSET
    api_keys: _Limit = UNSET
    members: _Limit = UNSET
    forecasts_a_day: _Limit = UNSET
    trainings_a_day: _Limit = UNSET
    rows_a_day: _Limit = UNSET


class OrganisationInUse(msgspec.Struct, frozen=True, kw_only=True):
    """What an organisation has now."""

    projects: int
    upload_bytes: int
    api_keys: int
    members: int


class OrganisationLimits(OrganisationInUse, frozen=True, kw_only=True):
    """What holds for an organisation, in a day over all its projects; 0: no limit."""

    forecasts_a_day: int
    trainings_a_day: int
    rows_a_day: int


class OrganisationQuotasInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What an organisation may have at once and use in a day, and what it has and uses."""

    organisation_id: str
    #: Its own; null: as the settings of the installation say.
    quotas: OrganisationQuotas
    in_force: OrganisationLimits
    #: Over all its projects, and of public ones what it asked for.
    used_today: UsedToday
    in_use: OrganisationInUse
    #: UTC; when the day ends.
    resets_at: datetime


_BODY = msgspec.json.Decoder(QuotasBody)
_OF_ORGANISATION = msgspec.json.Decoder(OrganisationQuotasBody)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes of quotas."""
    routes = Blueprint("quotas", __name__, url_prefix="/api/v1")

    @routes.get("/projects/<project_id>/quotas")
    @needs(Permission.READ)
    def get(project_id: str) -> Response:
        parameters.require_known(())
        require(service, Permission.READ, project_id)
        return json_of(_document(service, project_id))

    @routes.patch("/projects/<project_id>/quotas")
    @needs(Permission.OPERATE)
    def patch(project_id: str) -> Response:
        parameters.require_known(())
        row = registered(project_id, require(service, Permission.OPERATE, project_id))
        service.project_rows.set_quotas(row, _given(read_body(_BODY)))
        return json_of(_document(service, project_id))

    @routes.get("/organisations/<organisation_id>/quotas")
    @needs(Permission.READ)
    def get_of_organisation(organisation_id: str) -> Response:
        parameters.require_known(())
        require_organisation(service, Permission.READ, organisation_id)
        return json_of(of_organisation(service, organisation_id))

    @routes.patch("/organisations/<organisation_id>/quotas")
    @needs(Permission.OPERATE)
    def patch_of_organisation(organisation_id: str) -> Response:
        parameters.require_known(())
        require_organisation(service, Permission.OPERATE, organisation_id)
        service.shares.set_quotas(organisation_id, _given(read_body(_OF_ORGANISATION)))
        return json_of(of_organisation(service, organisation_id))

    return routes


def of_organisation(service: GatewayService, organisation_id: str) -> OrganisationQuotasInForce:
    """Return what an organisation may have at once and use in a day, and what it has and uses."""
    own = service.shares.quotas(organisation_id)
    in_use = service.shares.in_use(organisation_id)
    return OrganisationQuotasInForce(
        organisation_id=organisation_id,
        quotas=own,
        in_force=OrganisationLimits(**service.shares.in_force(own)),
        used_today=_used_today(lambda kind: service.usage.used_by_organisation(organisation_id, kind)),
        in_use=OrganisationInUse(**in_use, upload_bytes=service.shelf.taken(organisation_id)),
        resets_at=_end_of_day(service),
    )


def _used_today(used: Callable[[str], int]) -> UsedToday:
    return UsedToday(forecasts=used(FORECAST), trainings=used(TRAINING), rows=used(ROW))


def _end_of_day(service: GatewayService) -> datetime:
    now = datetime.fromtimestamp(service.accounts.now_us() // 1_000_000, UTC)
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)


def _given(body: QuotasBody | OrganisationQuotasBody) -> dict[str, int | None]:
    return {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}


def _document(service: GatewayService, project_id: str) -> ProjectQuotas:
    usage, caller = service.usage, principal()
    own = usage.quotas(project_id)
    return ProjectQuotas(
        project_id=project_id,
        quotas=own,
        in_force=QuotasInForce(
            requests_a_minute=own.requests_a_minute or 0,
            forecasts_a_day=usage.limit(project_id, FORECAST),
            trainings_a_day=usage.limit(project_id, TRAINING),
            rows_a_day=usage.limit(project_id, ROW),
            series=service.shares.of_project(own.series, "series"),
            schedules=service.shares.of_project(own.schedules, "schedules"),
        ),
        used_today=_used_today(lambda kind: usage.used(caller, project_id, kind)),
        in_use=InUse(
            series=service.project_queries.summary(project_id)["count"],
            schedules=len(service.project_queries.schedules(project_id)),
        ),
        resets_at=_end_of_day(service),
    )
