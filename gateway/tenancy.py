"""Whose things are: what the routes ask before they read or write an object of somebody's project.

What somebody may not see is answered as what does not exist: by the same code, so in the same words.
"""

from __future__ import annotations

from collections.abc import Sequence

from flask import g, request

from gateway.access import PUBLIC_PROJECTS, Permission, project_of
from gateway.bodies import invalid
from gateway.guard import principal
from gateway.headers import idempotency_key, new_id
from gateway.problems import FieldFault, Problem, not_found
from gateway.service import GatewayService
from gateway.uploads.shelf import Upload, unknown_upload
from schemas.identity import content_id

UPLOAD = "upload"
#: They reach public addresses, what is made up, or what the caller has brought; others are for operators.
_SOURCES_OF_ALL = frozenset({"yahoo", "cryptocompare", "mock", "sample", "url", UPLOAD})
_PUBLIC_SCHEMES = frozenset({"http", "https"})


def require(service: GatewayService, permission: Permission, named: str, missing: Problem) -> None:
    """Let through who may do this to the project of a series or a model.

    Args:
        service: Knows whose the project is.
        permission: What for.
        named: A series id, the name of a model, or a project id.
        missing: The answer for a thing that does not exist.

    Raises:
        Problem: ``missing``, 403 for a member whose role is too low, or 429.
    """
    project_id = project_of(named)
    service.access.require(principal(), permission, project_id, missing)
    count_request(service, project_id)


def count_request(service: GatewayService, project_id: str) -> None:
    """Count the current request once for a project that it touches.

    Raises:
        Problem: 429; the project has a quota of requests, and its callers are over it.
    """
    limit = service.usage.quotas(project_id).requests_a_minute
    counted: set[str] = g.setdefault("counted_projects", set())
    # Who changes the quota must get through to it.
    if limit and project_id not in counted and not principal().is_operator:
        counted.add(project_id)
        service.rates.count_project(project_id, limit)


def may_read(service: GatewayService, named: str) -> bool:
    """Return whether the caller may look at the project of a series or a model."""
    return service.access.may(principal(), Permission.READ, project_of(named))


def visible(service: GatewayService) -> frozenset[str] | None:
    """Return the projects that the caller may read; ``None``: all there are."""
    return service.access.visible(principal())


def unknown_series(series_id: str, field: str = "series_id") -> Problem:
    """Return the answer for a series that does not exist, or not for the caller."""
    advice = "GET /api/v1/series lists them, POST /api/v1/ingests fetches another one"
    return not_found("series", series_id, advice, field=field)


def require_project(service: GatewayService, permission: Permission, named: str, *, field: str = "series_id") -> None:
    """Let through who may bring something new into the project of a series or a model, which ``field`` names.

    Raises:
        Problem: 404 for a project that is not the caller's, 403 for a member whose role is too low.
    """
    project = project_of(named)
    advice = "ids begin with a project of yours, GET /api/v1/projects lists them"
    require(service, permission, project, not_found("project", named, advice, field=field))


def record_id() -> str:
    """Return the id of what the current request writes to the log.

    A key of the caller names one thing of its organisation, so that two organisations can have the same key; on a
    machine of one's own the id is the key.

    Raises:
        Problem: 400; the key has characters that it may not have.
    """
    return own_id(idempotency_key(request.headers.get("Idempotency-Key")) or new_id())


def own_id(key: str) -> str:
    """Return the id in the log of what the caller names by ``key``."""
    asking = principal()
    return content_id("key", asking.organisation_id, key) if asking.name else key


def require_sources(service: GatewayService, sources: Sequence[str], symbol: str) -> None:
    """Keep what the machine or the network of the operator holds, and the uploads of others, from tenants.

    Args:
        service: Knows the uploads.
        sources: Those that are asked for.
        symbol: What they call the series: an address of `url`, an upload and its series of `upload`.

    Raises:
        Problem: 404 for an upload that is not the caller's; 422.
    """
    if principal().is_operator:
        return
    for source in sources:
        if source not in _SOURCES_OF_ALL:
            expected = f"one of {', '.join(sorted(_SOURCES_OF_ALL))}; others are for operators"
            raise invalid(
                f"sources must be {expected}, was {source}",
                [FieldFault(field="sources", expected=expected, found=source)],
            )
    if "url" in sources and symbol.partition(":")[0].lower() not in _PUBLIC_SCHEMES:
        expected = "an address that begins with https:// or http://; others are for operators"
        raise invalid(
            f"symbol must be {expected}, was {symbol}", [FieldFault(field="symbol", expected=expected, found=symbol)]
        )
    if UPLOAD in sources:
        own_upload(service, symbol.partition("/")[0])


def own_upload(service: GatewayService, upload_id: str) -> Upload:
    """Return an upload of a project that the caller may change.

    Raises:
        Problem: 404, also for the upload of somebody else; 403 for a member whose role is too low.
    """
    upload = service.shelf.get(upload_id)
    require(service, Permission.WRITE, upload.owner.project, unknown_upload(upload_id))
    return upload


def require_within(field: str, project: str, named: str, *, with_public: bool) -> None:
    """Keep what works together within one project; operators may combine anything.

    Args:
        field: Where the name stands.
        project: That of the thing that is made.
        named: A series or a model that the caller may look at.
        with_public: Whether it may be in a public project.

    Raises:
        Problem: 422.
    """
    found = project_of(named)
    if principal().is_operator or found == project or (with_public and found in PUBLIC_PROJECTS):
        return
    expected = f"a name in the project {project}" + (" or in a public one" if with_public else "")
    raise invalid(f"{field} must be {expected}, was {named}", [FieldFault(field=field, expected=expected, found=named)])
