"""Projects: their quotas and what they use."""

from __future__ import annotations

from flask import Blueprint, Response, request, url_for
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from sqlalchemy import select
from wtforms import IntegerField  # type: ignore[import-untyped]

from gateway.access import Permission
from gateway.accounts.project_rows import ProjectRow, Quotas
from gateway.accounts.tables import ORGANISATIONS
from gateway.admin.pages import (
    OF_QUOTAS,
    WITHIN,
    Action,
    Cell,
    Choice,
    Shown,
    Table,
    asked,
    done,
    given,
    listed,
    shown,
    when_us,
)
from gateway.guard import needs
from gateway.routes.projects import unknown
from gateway.service import GatewayService

_DAYS = (1, 30)
_SHOWN = 500
_NAMES = {
    "requests_a_minute": "Requests a minute",
    "forecasts_a_day": "Forecasts a day",
    "trainings_a_day": "Trainings a day",
    "rows_a_day": "Rows of observations a day",
    "series": "Series",
    "schedules": "Schedules",
}


class QuotaForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """What a project may use."""

    requests_a_minute = IntegerField(_NAMES["requests_a_minute"], validators=WITHIN)
    forecasts_a_day = IntegerField(_NAMES["forecasts_a_day"], validators=WITHIN)
    trainings_a_day = IntegerField(_NAMES["trainings_a_day"], validators=WITHIN)
    rows_a_day = IntegerField(_NAMES["rows_a_day"], validators=WITHIN)
    series = IntegerField(_NAMES["series"], validators=WITHIN)
    schedules = IntegerField(_NAMES["schedules"], validators=WITHIN)


def add(routes: Blueprint, service: GatewayService) -> None:
    """Add the pages of projects."""

    @routes.get("/projects")
    @needs(Permission.OPERATE)
    def projects() -> Response:
        return _list(service)

    @routes.get("/projects/<project_id>")
    @needs(Permission.OPERATE)
    def project(project_id: str) -> Response:
        return _show(service, _project(service, project_id))

    @routes.route("/projects/<project_id>/quotas", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def quotas(project_id: str) -> Response:
        row = _project(service, project_id)
        form = QuotaForm(data={name: getattr(row.quotas, name) for name in Quotas.__struct_fields__})
        back = url_for("admin.project", project_id=project_id)
        if not form.validate_on_submit():
            return asked(form, title=f"Quotas of {row.name}", text=OF_QUOTAS, button="Set the quotas", back=back)
        service.project_rows.set_quotas(row, {name: form[name].data for name in Quotas.__struct_fields__})
        return done(f"The quotas of {row.name} are set.", back)


def _project(service: GatewayService, project_id: str) -> ProjectRow:
    row = service.project_rows.get(project_id)
    if row is None:
        raise unknown(project_id[:100])
    return row


def _list(service: GatewayService) -> Response:
    organisation_id, text = given("organisation_id"), given("search")
    rows = [
        row
        for row in service.project_rows.of(None)
        if (organisation_id is None or row.organisation_id == organisation_id)
        and (text is None or text.lower() in f"{row.project_id} {row.name}".lower())
    ]
    with service.accounts.read() as connection:
        query = select(ORGANISATIONS.c.organisation_id, ORGANISATIONS.c.name)
        names = {found.organisation_id: found.name for found in connection.execute(query)}
    lines = [
        (
            Cell(row.name, url_for("admin.project", project_id=row.project_id)),
            Cell(row.project_id, look="code"),
            Cell(
                names.get(row.organisation_id, row.organisation_id),
                url_for("admin.organisation", organisation_id=row.organisation_id),
            ),
            Cell(_used(service, row.project_id, _DAYS[0])),
            when_us(row.created_us),
        )
        for row in rows[:_SHOWN]
    ]
    return listed(
        "Projects",
        Table(("Name", "Id", "Organisation", "Used today", "Made (UTC)"), lines, "No project is found."),
        filters=[
            Choice("search", "Name or id has", value=text or ""),
            Choice("organisation_id", "Id of the organisation", value=request.args.get("organisation_id", "")),
        ],
        note=f"The first {_SHOWN} of {len(rows)} are shown; search for others." if len(rows) > _SHOWN else "",
    )


def _used(service: GatewayService, project_id: str, days: int) -> str:
    used = service.project_rows.used(project_id, days=days, organisation_id=None)
    return ", ".join(f"{count} {kind}{'s' * (count != 1)}" for kind, count in sorted(used.items())) or "nothing"


def _show(service: GatewayService, row: ProjectRow) -> Response:
    project_id = row.project_id
    limits = {name: getattr(row.quotas, name) for name in Quotas.__struct_fields__}
    summary = service.project_queries.summary(project_id)
    facts = (
        ("Id", Cell(project_id, look="code")),
        ("Organisation", Cell(row.organisation_id, url_for("admin.organisation", organisation_id=row.organisation_id))),
        ("Description", Cell(row.description or "none")),
        ("Series", Cell(summary["count"])),
        *((f"Used in {days} day{'s' * (days != 1)}", Cell(_used(service, project_id, days))) for days in _DAYS),
        *(
            (f"Quota: {_NAMES[name].lower()}", Cell("as the settings say" if limit is None else limit))
            for name, limit in limits.items()
        ),
        ("Made (UTC)", when_us(row.created_us)),
    )
    actions = [
        Action("Quotas", url_for("admin.quotas", project_id=project_id)),
        Action("API keys", url_for("admin.keys", organisation_id=row.organisation_id)),
    ]
    back = ("All projects", url_for("admin.projects"))
    return shown(Shown(title=row.name, facts=facts, actions=actions, back=back))
