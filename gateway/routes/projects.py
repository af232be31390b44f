"""Projects: made of nothing or of a file, looked at, trained, forecast, removed."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from flask import Blueprint, Response, request, url_for
from msgspec import Meta

from gateway import parameters, tenancy
from gateway.access import PUBLIC_PROJECTS, Permission, forbidden
from gateway.accounts.project_rows import ProjectRow
from gateway.answers import json_of
from gateway.bodies import Body, read_body
from gateway.guard import needs, principal
from gateway.observed import utc
from gateway.problems import Problem, not_found
from gateway.project_documents import active_schedules, details, line, work_of
from gateway.project_files import create_from_file
from gateway.project_training import ProjectTrainingBody, trainings_of
from gateway.routes import trainings
from gateway.routes.predictions import Predictions
from gateway.service import GatewayService

_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Description = Annotated[str, Meta(max_length=10_000)]


class ProjectBody(Body, frozen=True, kw_only=True):
    """A project without a file."""

    name: _Name
    description: _Description = ""
    #: Whose it is; empty: the organisation of the caller.
    organisation_id: str = ""


class ProjectChangeBody(Body, frozen=True, kw_only=True):
    """What becomes otherwise; null leaves it."""

    name: _Name | None = None
    description: _Description | None = None


_BODY = msgspec.json.Decoder(ProjectBody)
_CHANGE = msgspec.json.Decoder(ProjectChangeBody)
_TRAINING = msgspec.json.Decoder(ProjectTrainingBody)
#: What was taken where the caller said nothing.
_TOLD_OF_TRAINING = (
    "target",
    "algorithm",
    "candidates",
    "horizon",
    "window_size",
    "covariates",
    "budget_seconds",
    "intervals",
)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/projects``."""
    routes = Blueprint("projects", __name__, url_prefix="/api/v1/projects")
    predictions = Predictions(service)

    @routes.get("")
    @needs(Permission.READ)
    def every() -> Response:
        parameters.require_known(())
        return json_of({"projects": _lines(service)})

    @routes.post("")
    @needs(Permission.WRITE)
    def post() -> Response:
        return _create(service)

    @routes.get("/<project_id>")
    @needs(Permission.READ)
    def get(project_id: str) -> Response:
        parameters.require_known(("limit", "after_series"))
        row = require(service, Permission.READ, project_id)
        return json_of(details(service, project_id, row, _page(service, project_id)))

    @routes.patch("/<project_id>")
    @needs(Permission.WRITE)
    def patch(project_id: str) -> Response:
        parameters.require_known(())
        row = registered(project_id, require(service, Permission.WRITE, project_id))
        body = read_body(_CHANGE)
        service.project_rows.change(row, name=body.name, description=body.description)
        return json_of(line(project_id, service.project_rows.get(project_id)))

    @routes.delete("/<project_id>")
    @needs(Permission.MANAGE)
    def delete(project_id: str) -> Response:
        parameters.require_known(())
        return _delete(service, project_id)

    @routes.post("/<project_id>/train")
    @needs(Permission.TRAIN)
    def train(project_id: str) -> Response:
        parameters.require_known(())
        return _train(service, project_id)

    @routes.post("/<project_id>/predict")
    @needs(Permission.FORECAST)
    def predict(project_id: str) -> Response:
        parameters.require_known(())
        return predictions.answer(project_id, require(service, Permission.FORECAST, project_id))

    return routes


def unknown(project_id: str) -> Problem:
    """Return the answer for a project that does not exist, or not for the caller."""
    return not_found("project", project_id, "GET /api/v1/projects lists them")


def require(service: GatewayService, permission: Permission, project_id: str) -> ProjectRow | None:
    """Let through who may do this to a project, and return its registration; ``None``: it is public or has none.

    Raises:
        Problem: 404, or 403 for a member whose role is too low.
    """
    missing = unknown(project_id)
    tenancy.require(service, permission, project_id, missing)
    row = service.project_rows.get(project_id)
    if row is None and project_id not in PUBLIC_PROJECTS and not service.project_queries.summary(project_id)["count"]:
        raise missing  # operators may look everywhere, also where nothing is
    return row


def registered(project_id: str, row: ProjectRow | None) -> ProjectRow:
    """Return a registration.

    Raises:
        Problem: 409; there is none.
    """
    if row is None:
        raise Problem(
            409,
            "project-not-registered",
            f"{project_id} was not made by POST /api/v1/projects: there is nothing to change or remove",
        )
    return row


def _lines(service: GatewayService) -> list[dict[str, Any]]:
    visible = tenancy.visible(service)
    rows = {row.project_id: row for row in service.project_rows.of(visible)}
    others = PUBLIC_PROJECTS if visible is not None else PUBLIC_PROJECTS.union(service.project_queries.names())
    return [line(project_id, rows.get(project_id)) for project_id in sorted(others | set(rows))]


def _page(service: GatewayService, project_id: str) -> dict[str, Any]:
    limit = parameters.integer("limit", default=50, minimum=1, maximum=1000)
    rows = service.project_queries.series(project_id, after=request.args.get("after_series"), limit=limit + 1)
    shown = rows[:limit]
    following = None
    if len(rows) > limit:
        following = url_for("projects.get", project_id=project_id, limit=limit, after_series=shown[-1]["series_id"])
    series = [{**row, "first_time": utc(row["first_time"]), "last_time": utc(row["last_time"])} for row in shown]
    return {"series": series, "next": following}


def _create(service: GatewayService) -> Response:
    if request.mimetype == "application/json" or request.mimetype.endswith("+json"):
        parameters.require_known(())
        body = read_body(_BODY)
        organisation_id = organisation_of_caller(service, body.organisation_id)
        project_id = service.projects.create(
            organisation_id=organisation_id,
            name=body.name,
            description=body.description,
            created_by=principal().user_id,
            admit=lambda connection: service.shares.require(connection, "projects", organisation_id),
        )
        told = line(project_id, service.project_rows.get(project_id)) | {"upload": None}
    else:
        project_id, upload = create_from_file(service, lambda named: organisation_of_caller(service, named))
        told = line(project_id, service.project_rows.get(project_id)) | {"upload": upload}
    return json_of(told, 201, {"Location": url_for("projects.get", project_id=project_id)})


def organisation_of_caller(service: GatewayService, named: str) -> str:
    """Return the organisation for which the caller makes a project; empty is that of a machine of one's own.

    Raises:
        Problem: 404 for one that is not the caller's, 403 where role or key may not make projects.
    """
    asking = principal()
    organisation_id = named or asking.organisation_id
    is_known = organisation_id in asking.roles or (not named and not organisation_id)
    if not is_known and not (asking.is_operator and service.project_rows.has_organisation(organisation_id)):
        raise not_found("organisation", named or organisation_id, "you must be a member of it")
    if Permission.WRITE not in asking.in_organisation(organisation_id) or asking.project_ids is not None:
        raise forbidden(Permission.WRITE, "in the organisation, with a key that is not limited to a project,")
    return organisation_id


def _delete(service: GatewayService, project_id: str) -> Response:
    row = registered(project_id, require(service, Permission.MANAGE, project_id))
    service.require_caught_up()
    if work_of(service, project_id).is_busy:
        raise Problem(
            409,
            "project-busy",
            "data are being loaded or a model is being trained; wait for the end, or cancel the training",
        )
    active = active_schedules(service, project_id)
    if active:
        raise Problem(
            409,
            "project-busy",
            f"{active[0]} is fetched by a schedule; POST /api/v1/sources/{active[0]}/pause ends that",
        )
    service.project_rows.remove(row)
    return json_of({"project_id": project_id, "state": "removed"})


def _train(service: GatewayService, project_id: str) -> Response:
    row = require(service, Permission.TRAIN, project_id)
    service.require_caught_up()
    body = read_body(_TRAINING) if request.content_length or request.mimetype else ProjectTrainingBody()
    started = trainings.start(service, trainings_of(service, project_id, row, body))
    first = started[0]
    told = {
        "trainings": [{"training_id": one.training_id, "state": "queued", "model": one.model} for one in started],
        "series_count": sum(len(one.series_ids) for one in started),
        **{name: getattr(first, name) for name in _TOLD_OF_TRAINING},
    }
    return json_of(told, 202, {"Location": url_for("trainings.get", training_id=first.training_id)})
