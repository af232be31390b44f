"""The pages put together: who may see them, and how they refuse."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Response, make_response, redirect, request, url_for
from sqlalchemy import func, select

from gateway.access import Permission
from gateway.accounts.tables import API_KEYS, DELIVERIES, ORGANISATIONS, PROJECTS, USERS
from gateway.admin import audit_log, dead_letters, keys, organisations, projects, quarantine, users, webhooks
from gateway.admin.pages import PARTS, Cell, Shown, page, sentence, shown
from gateway.callers import require_no_key
from gateway.content_security import add_headers, policy
from gateway.guard import needs, principal
from gateway.parameters import require_plain_form
from gateway.problems import Problem
from gateway.service import GatewayService
from gateway.webhooks.deliveries import FAILED

_UNAUTHENTICATED = 401
_SEE_OTHER = 303
_MAX_COUNTED = 1_000


def blueprint(service: GatewayService) -> Blueprint:
    """Return the pages below ``/admin``."""
    routes = Blueprint("admin", __name__, url_prefix="/admin")
    # These pages have no styles inside the HTML.
    routes.after_request(add_headers(policy(style_src="'self'")))
    # An API key that leaked must not be able to make further ways in.
    routes.before_request(require_no_key)
    routes.before_request(require_plain_form)
    routes.register_error_handler(Problem, _refused)
    for part in (users, organisations, projects, keys, quarantine, dead_letters, webhooks, audit_log):
        part.add(routes, service)

    @routes.get("")
    @needs(Permission.OPERATE)
    def overview() -> Response:
        return shown(Shown(title="Overview", facts=_facts(service)))

    return routes


def _refused(problem: Problem) -> Response:
    """Answer with a page; who has not signed in is led to where they can."""
    if problem.status == _UNAUTHENTICATED:
        following = request.full_path.rstrip("?") if request.method == "GET" else url_for("admin.overview")
        return make_response(redirect(f"/login?{urlencode({'next': following})}", _SEE_OTHER))
    if problem.code == "password-change-required":
        return make_response(redirect(url_for("login.password"), _SEE_OTHER))
    title = problem.code.replace("-", " ").capitalize()
    # The menu is for those who may use it.
    parts = PARTS if principal().is_operator else ()
    return page("error.html", problem.status, parts=parts, title=title, error=sentence(problem))


def _facts(service: GatewayService) -> list[tuple[str, Cell]]:
    counted = (
        ("Users", USERS, USERS.c.is_disabled.is_(False), "admin.users"),
        ("Organisations", ORGANISATIONS, None, "admin.organisations"),
        ("Projects", PROJECTS, None, "admin.projects"),
        ("API keys", API_KEYS, API_KEYS.c.revoked_us.is_(None), "admin.keys"),
        ("Failed deliveries of webhooks", DELIVERIES, DELIVERIES.c.state == FAILED, "admin.webhooks"),
    )
    facts = []
    with service.accounts.read() as connection:
        for name, table, condition, endpoint in counted:
            query = select(func.count()).select_from(table)
            count = connection.scalar(query if condition is None else query.where(condition))
            facts.append((name, Cell(count, url_for(endpoint))))
    held = service.queries.quarantine(projects=None, series_id=None, state="held", after=None, limit=_MAX_COUNTED)
    more = f"{_MAX_COUNTED} or more" if len(held) == _MAX_COUNTED else len(held)
    facts.append(("Batches held in quarantine", Cell(more, url_for("admin.quarantine"))))
    facts.append(("Dead letters that wait", Cell(service.dead_letters.waiting(), url_for("admin.dead_letters"))))
    return facts
