"""Models, their versions with the skill that they showed, and which of them answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from flask import Blueprint, Response, g, request

from gateway import parameters, tenancy
from gateway.access import Permission
from gateway.answers import json_of
from gateway.bodies import DeployBody, read_body
from gateway.changes import note_change
from gateway.guard import needs, principal
from gateway.headers import wait_seconds
from gateway.keyed import send_once
from gateway.problems import FieldFault, Problem, not_found
from gateway.projects_of import Projects
from gateway.service import GatewayService
from schemas.models import Deployment
from schemas.topics import DEPLOYMENTS

_BODY = msgspec.json.Decoder(DeployBody)
_DEPLOYMENT = msgspec.json.Decoder(Deployment)
#: Of a release: what it is and how good it was; the recipe is for machines.
_LINE = (
    "version",
    "training_id",
    "algorithm",
    "series_ids",
    "target",
    "columns",
    "freq",
    "calendar",
    "unit",
    "window_size",
    "horizon",
    "levels",
    "metrics",
    "skill",
    "folds",
    "calibration_folds",
    "fallback_from",
    "fallback_reason",
    "artefact_digest",
    "code_version",
)
#: What not every release has, and what is told of one without.
_MORE: tuple[tuple[str, list[Any] | dict[str, Any]], ...] = (
    ("leaderboard", []),
    ("fold_metrics", []),
    ("fold_spread", {}),
)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/models``."""
    routes = Blueprint("models", __name__, url_prefix="/api/v1/models")

    @routes.get("")
    @needs(Permission.READ)
    def every() -> Response:
        parameters.require_known(())
        return json_of({"models": models(service, tenancy.visible(service))})

    @routes.get("/<path:model>")
    @needs(Permission.READ)
    def one(model: str) -> Response:
        parameters.require_known(())
        tenancy.require(service, Permission.READ, model, _unknown(model))
        found = models(service, None, model)
        if not found:
            raise _unknown(model)
        return json_of(found[0])

    @routes.post("/<path:model>/deploy")
    @needs(Permission.DEPLOY)
    def deploy(model: str) -> Response:
        return _deploy(service, model)

    return routes


def roles_of(deployments: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return for each model the role of each version, by log order.

    A new champion replaces the old one; a record that counts only for the first release is without effect where a
    champion stands.
    """
    roles: dict[str, dict[str, str]] = {}
    for row in deployments:
        of_model = roles.setdefault(row["model"], {})
        if row["role"] == "champion":
            if row["is_only_if_first"] and "champion" in of_model.values():
                continue
            for version in [name for name, role in of_model.items() if role == "champion"]:
                del of_model[version]
        of_model[row["version"]] = row["role"]
    return roles


def champion_of(roles: Mapping[str, str]) -> str | None:
    """Return the version that answers, if any."""
    return next((version for version, role in roles.items() if role == "champion"), None)


def models(service: GatewayService, projects: Projects, model: str | None = None) -> list[dict[str, Any]]:
    """Return every model of these projects, or one, with its versions, newest first."""
    roles = roles_of(service.queries.deployments(model))
    by_model: dict[str, dict[str, Any]] = {}
    for row in service.queries.releases(projects, model):
        release = msgspec.json.decode(row["release"])
        of_model = roles.get(row["model"], {})
        entry = by_model.setdefault(
            row["model"], {"model": row["model"], "champion": champion_of(of_model), "versions": []}
        )
        line = {name: release.get(name) for name in _LINE} | {name: release.get(name, none) for name, none in _MORE}
        entry["versions"].insert(0, {**line, "role": of_model.get(row["version"])})
    return list(by_model.values())


def _unknown(model: str) -> Problem:
    return not_found("model", model, "GET /api/v1/models lists them")


def _deploy(service: GatewayService, model: str) -> Response:
    service.require_caught_up()
    deployment_id = tenancy.record_id()
    body = read_body(_BODY)
    tenancy.require(service, Permission.DEPLOY, model, _unknown(model))
    versions = service.queries.versions(model)
    if not versions:
        raise _unknown(model)
    if body.version not in versions:
        expected = f"one of {', '.join(versions[-10:])}"
        raise Problem(
            404,
            "unknown-version",
            f"version must be {expected}, was {body.version!r}",
            errors=[FieldFault(field="version", expected=expected, found=body.version)],
        )
    previous = champion_of(roles_of(service.queries.deployments(model)).get(model, {}))
    wanted = Deployment(
        deployment_id=deployment_id,
        model=model,
        version=body.version,
        role=body.role,
        previous=previous,
        reason=body.reason,
        requester=principal().requester,
    )

    def first() -> Deployment | None:
        row = service.queries.deployment(wanted.deployment_id)
        return None if row is None else _DEPLOYMENT.decode(row["deployment"])

    placed = send_once(
        service,
        DEPLOYMENTS,
        wanted,
        g.traceparent,
        first=first,
        ignoring=("previous", "requester"),
        charge=lambda: note_change(
            service, "model.deployed", model, of=model, version=body.version, role=body.role, previous=previous
        ),
    )
    is_seen = placed is None or service.projection.wait_written(placed.ends, _patience(service))
    return json_of(first() or wanted, 200 if is_seen else 202)


def _patience(service: GatewayService) -> float:
    settings = service.settings
    return wait_seconds(
        request.headers.get("Prefer"), default=settings.default_wait_seconds, maximum=settings.max_wait_seconds
    )
