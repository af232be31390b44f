"""What a project may use, and what it has used today."""

from __future__ import annotations

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
from gateway.guard import needs, principal
from gateway.limits.quotas import FORECAST, TRAINING
from gateway.routes.projects import registered, require
from gateway.service import GatewayService

_Limit = Annotated[int, Meta(ge=0, le=2_000_000_000)] | UnsetType | None


class QuotasBody(Body, frozen=True, kw_only=True):
    """Quotas that become otherwise; null: as the settings of the installation say; 0: no limit."""

    requests_a_minute: _Limit = UNSET
    forecasts_a_day: _Limit = UNSET
    trainings_a_day: _Limit = UNSET


class QuotasInForce(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a project; 0: no limit."""

    requests_a_minute: int
    forecasts_a_day: int
    trainings_a_day: int


class UsedToday(msgspec.Struct, frozen=True, kw_only=True):
    """What was used since the day (UTC) began."""

    forecasts: int
    trainings: int


class ProjectQuotas(msgspec.Struct, frozen=True, kw_only=True):
    """What a project may use; of a public one what your organisation may."""

    project_id: str
    #: Its own; null: as the settings of the installation say.
    quotas: Quotas
    in_force: QuotasInForce
    used_today: UsedToday
    #: UTC; when the day ends.
    resets_at: datetime


_BODY = msgspec.json.Decoder(QuotasBody)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes of quotas."""
    routes = Blueprint("quotas", __name__, url_prefix="/api/v1/projects/<project_id>/quotas")

    @routes.get("")
    @needs(Permission.READ)
    def get(project_id: str) -> Response:
        parameters.require_known(())
        require(service, Permission.READ, project_id)
        return json_of(_document(service, project_id))

    @routes.patch("")
    @needs(Permission.OPERATE)
    def patch(project_id: str) -> Response:
        parameters.require_known(())
        row = registered(project_id, require(service, Permission.OPERATE, project_id))
        body = read_body(_BODY)
        given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
        service.project_rows.set_quotas(row, given)
        return json_of(_document(service, project_id))

    return routes


def _document(service: GatewayService, project_id: str) -> ProjectQuotas:
    usage, caller = service.usage, principal()
    own = usage.quotas(project_id)
    now = datetime.fromtimestamp(service.accounts.now_us() // 1_000_000, UTC)
    return ProjectQuotas(
        project_id=project_id,
        quotas=own,
        in_force=QuotasInForce(
            requests_a_minute=own.requests_a_minute or 0,
            forecasts_a_day=usage.limit(project_id, FORECAST),
            trainings_a_day=usage.limit(project_id, TRAINING),
        ),
        used_today=UsedToday(
            forecasts=usage.used(caller, project_id, FORECAST), trainings=usage.used(caller, project_id, TRAINING)
        ),
        resets_at=datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1),
    )
