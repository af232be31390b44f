"""Organisations: made, and their members, projects and keys."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, url_for
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from sqlalchemy import func, select
from wtforms import IntegerField, SelectField, StringField  # type: ignore[import-untyped]
from wtforms.validators import InputRequired, Length, NumberRange, Optional  # type: ignore[import-untyped]

from gateway.access import Permission, Role
from gateway.accounts.tables import MEMBERSHIPS, ORGANISATIONS, PROJECTS, USERS
from gateway.accounts.users import add_organisation
from gateway.admin.pages import (
    LIMIT,
    OF_QUOTAS,
    WITHIN,
    Action,
    Cell,
    ConfirmForm,
    Shown,
    Table,
    after,
    asked,
    done,
    given,
    listed,
    sentence,
    shown,
    when_us,
)
from gateway.callers import unknown_organisation
from gateway.guard import needs
from gateway.problems import Problem
from gateway.routes.organisations import change_member, remove_member
from gateway.routes.quotas import of_organisation
from gateway.service import GatewayService

_NAMES = {
    "projects": "Projects",
    "upload_bytes": "Bytes of uploads on the disk",
    "api_keys": "API keys",
    "members": "Members and open invitations",
    "forecasts_a_day": "Forecasts a day",
    "trainings_a_day": "Trainings a day",
    "rows_a_day": "Rows of observations a day",
}


class OrganisationForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A new organisation."""

    name = StringField("Name", validators=[InputRequired(), Length(max=200)])


class QuotaForm(FlaskForm):  # type: ignore[misc]  # likewise
    """What an organisation may have at once, and use in a day over all its projects."""

    projects = IntegerField(_NAMES["projects"], validators=WITHIN)
    upload_bytes = IntegerField(_NAMES["upload_bytes"], validators=(Optional(), NumberRange(min=0, max=2**53)))
    api_keys = IntegerField(_NAMES["api_keys"], validators=WITHIN)
    members = IntegerField(_NAMES["members"], validators=WITHIN)
    forecasts_a_day = IntegerField(_NAMES["forecasts_a_day"], validators=WITHIN)
    trainings_a_day = IntegerField(_NAMES["trainings_a_day"], validators=WITHIN)
    rows_a_day = IntegerField(_NAMES["rows_a_day"], validators=WITHIN)


class RoleForm(FlaskForm):  # type: ignore[misc]  # likewise
    """What a member becomes."""

    role = SelectField("Role", choices=[str(role) for role in Role])


def add(routes: Blueprint, service: GatewayService) -> None:
    """Add the pages of organisations."""

    @routes.get("/organisations")
    @needs(Permission.OPERATE)
    def organisations() -> Response:
        return _list(service)

    @routes.route("/organisations/new", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def new_organisation() -> Response:
        form = OrganisationForm()
        if not form.validate_on_submit():
            back = url_for("admin.organisations")
            return asked(form, title="New organisation", button="Make the organisation", back=back)
        name = form.name.data
        with service.accounts.change() as connection:
            made = add_organisation(connection, name, service.accounts.now_us(), admin=None)
        return done(f"{name} is made; make its first admin now.", url_for("admin.organisation", organisation_id=made))

    @routes.get("/organisations/<organisation_id>")
    @needs(Permission.OPERATE)
    def organisation(organisation_id: str) -> Response:
        return _show(service, _organisation(service, organisation_id))

    @routes.route("/organisations/<organisation_id>/quotas", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def organisation_quotas(organisation_id: str) -> Response:
        row = _organisation(service, organisation_id)
        form = QuotaForm(data=msgspec.structs.asdict(service.shares.quotas(organisation_id)))
        back = url_for("admin.organisation", organisation_id=organisation_id)
        if not form.validate_on_submit():
            return asked(form, title=f"Quotas of {row['name']}", text=OF_QUOTAS, button="Set the quotas", back=back)
        service.shares.set_quotas(organisation_id, {name: form[name].data for name in _NAMES})
        return done(f"The quotas of {row['name']} are set.", back)

    @routes.route("/organisations/<organisation_id>/members/<user_id>/role", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def change_role(organisation_id: str, user_id: str) -> Response:
        row = _organisation(service, organisation_id)
        form = RoleForm()
        return _member(service, row, user_id, form, button="Change the role", what="Role")

    @routes.route("/organisations/<organisation_id>/members/<user_id>/remove", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def remove(organisation_id: str, user_id: str) -> Response:
        row = _organisation(service, organisation_id)
        return _member(service, row, user_id, ConfirmForm(), button="Remove", what="Remove the member")


def _organisation(service: GatewayService, organisation_id: str) -> Any:
    query = select(ORGANISATIONS).where(ORGANISATIONS.c.organisation_id == organisation_id)
    with service.accounts.read() as connection:
        row = connection.execute(query).mappings().first()
    if row is None:
        raise unknown_organisation(organisation_id)
    return row


def _list(service: GatewayService) -> Response:
    id_ = ORGANISATIONS.c.organisation_id
    members = select(func.count()).where(MEMBERSHIPS.c.organisation_id == id_).scalar_subquery()
    projects = select(func.count()).where(PROJECTS.c.organisation_id == id_).scalar_subquery()
    query = (
        select(ORGANISATIONS, members.label("member_count"), projects.label("project_count"))
        .order_by(id_)
        .limit(LIMIT + 1)
    )
    if (behind := given("after")) is not None:
        query = query.where(id_ > behind)
    with service.accounts.read() as connection:
        rows = connection.execute(query).mappings().all()
    lines = [
        (
            Cell(row["name"], url_for("admin.organisation", organisation_id=row["organisation_id"])),
            Cell(row["member_count"]),
            Cell(row["project_count"]),
            when_us(row["created_us"]),
        )
        for row in rows[:LIMIT]
    ]
    return listed(
        "Organisations",
        Table(("Name", "Members", "Projects", "Made (UTC)"), lines, "There is no organisation yet."),
        actions=[Action("New organisation", url_for("admin.new_organisation"))],
        following=after(after=rows[LIMIT - 1]["organisation_id"]) if len(rows) > LIMIT else None,
    )


def _show(service: GatewayService, row: Any) -> Response:
    organisation_id = row["organisation_id"]
    found = of_organisation(service, organisation_id)
    there = msgspec.structs.asdict(found.in_use)
    there |= {f"{kind}_a_day": used for kind, used in msgspec.structs.asdict(found.used_today).items()}
    facts = (
        ("Id", Cell(organisation_id, look="code")),
        *(
            (called, Cell(f"{there[name]} of {getattr(found.in_force, name) or 'any number'}"))
            for name, called in _NAMES.items()
        ),
        ("Made (UTC)", when_us(row["created_us"])),
    )
    actions = [
        Action("Quotas", url_for("admin.organisation_quotas", organisation_id=organisation_id)),
        Action("Projects", url_for("admin.projects", organisation_id=organisation_id)),
        Action("API keys", url_for("admin.keys", organisation_id=organisation_id)),
        Action("Audit log", url_for("admin.audit_log", organisation_id=organisation_id)),
    ]
    back = ("All organisations", url_for("admin.organisations"))
    tables = [_members(service, organisation_id)]
    note = "Whoever is to be a new member is made under Users, or invited by an admin of the organisation."
    return shown(Shown(title=row["name"], facts=facts, actions=actions, tables=tables, back=back, note=note))


def _members(service: GatewayService, organisation_id: str) -> Table:
    query = (
        select(USERS.c.user_id, USERS.c.email, USERS.c.name, MEMBERSHIPS.c.role, MEMBERSHIPS.c.created_us)
        .join(USERS, USERS.c.user_id == MEMBERSHIPS.c.user_id)
        .where(MEMBERSHIPS.c.organisation_id == organisation_id)
        .order_by(USERS.c.email)
    )
    with service.accounts.read() as connection:
        rows = connection.execute(query).all()

    def to(endpoint: str, user_id: str) -> str:
        return url_for(endpoint, organisation_id=organisation_id, user_id=user_id)

    lines = [
        (
            Cell(row.email, url_for("admin.user", user_id=row.user_id)),
            Cell(row.name),
            Cell(row.role),
            when_us(row.created_us),
            Cell("Change the role", to("admin.change_role", row.user_id)),
            Cell("Remove", to("admin.remove", row.user_id)),
        )
        for row in rows
    ]
    return Table(("Email", "Name", "Role", "Since (UTC)", "", ""), lines, "It has no member yet.", "Members")


def _member(service: GatewayService, row: Any, user_id: str, form: Any, *, button: str, what: str) -> Response:
    """Ask about a member and do it: another role where the form has one, else out."""
    organisation_id, error = row["organisation_id"], ""
    back = url_for("admin.organisation", organisation_id=organisation_id)
    is_role = "role" in form
    if form.validate_on_submit():
        try:
            if is_role:
                change_member(service, organisation_id, user_id, Role(form.role.data))
            else:
                remove_member(service, organisation_id, user_id)
        except Problem as problem:
            error = sentence(problem)
        else:
            return done(f"{row['name']}: the member {'has another role' if is_role else 'is removed'}.", back)
    with service.accounts.read() as connection:
        email = connection.scalar(select(USERS.c.email).where(USERS.c.user_id == user_id)) or user_id[:100]
    text = "" if is_role else "The keys that they made there are revoked."
    title = f"{what}: {email}, {row['name']}"
    return asked(form, title=title, text=text, button=button, back=back, is_danger=not is_role, error=error)
