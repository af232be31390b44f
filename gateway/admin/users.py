"""Users: made with a one-time password, disabled, made operators, given another password, signed out."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, request, url_for
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from sqlalchemy import or_, select
from wtforms import BooleanField, EmailField, SelectField, StringField  # type: ignore[import-untyped]
from wtforms.validators import InputRequired, Length  # type: ignore[import-untyped]

from gateway.access import Permission, Role
from gateway.account_bodies import UserBody
from gateway.accounts.audit import audit
from gateway.accounts.logins import end_logins
from gateway.accounts.passwords import one_time_password
from gateway.accounts.tables import LOGINS, MEMBERSHIPS, ORGANISATIONS, USERS
from gateway.admin.pages import (
    LIMIT,
    Action,
    Cell,
    Choice,
    ConfirmForm,
    Shown,
    Table,
    after,
    asked,
    done,
    given,
    listed,
    page,
    sentence,
    shown,
    when_us,
    yes,
)
from gateway.guard import needs
from gateway.problems import Problem, not_found
from gateway.routes.users import change_one, create_user
from gateway.service import GatewayService

#: What can be made otherwise by one click: name -> question, button, columns, what was done.
_CHANGES: dict[str, tuple[str, str, dict[str, bool], str]] = {
    "disable": ("They are signed out and cannot sign in.", "Disable", {"is_disabled": True}, "is disabled"),
    "enable": ("They can sign in again.", "Enable", {"is_disabled": False}, "can sign in again"),
    "make-operator": ("They may do everything here.", "Make operator", {"is_operator": True}, "is an operator"),
    "no-operator": (
        "They keep the roles that they have in organisations.",
        "Take it away",
        {"is_operator": False},
        "is no operator any more",
    ),
}


class UserForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """Somebody new."""

    email = EmailField("Email", validators=[InputRequired(), Length(max=320)])
    name = StringField("Name", validators=[Length(max=200)])
    is_operator = BooleanField("Operator: may do everything here")
    organisation_id = SelectField("Organisation", choices=[])
    role = SelectField("Role there", choices=[str(role) for role in Role])


def add(routes: Blueprint, service: GatewayService) -> None:
    """Add the pages of users."""

    @routes.get("/users")
    @needs(Permission.OPERATE)
    def users() -> Response:
        return _list(service)

    @routes.route("/users/new", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def new_user() -> Response:
        return _new(service)

    @routes.get("/users/<user_id>")
    @needs(Permission.OPERATE)
    def user(user_id: str) -> Response:
        return _show(service, _user(service, user_id))

    @routes.route(
        "/users/<user_id>/<any(disable, enable, 'make-operator', 'no-operator'):change>", methods=["GET", "POST"]
    )
    @needs(Permission.OPERATE)
    def change_user(user_id: str, change: str) -> Response:
        return _change(service, _user(service, user_id), change)

    @routes.route("/users/<user_id>/reset-password", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def reset_password(user_id: str) -> Response:
        return _reset(service, _user(service, user_id))

    @routes.route("/users/<user_id>/sign-out", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def sign_out(user_id: str) -> Response:
        return _sign_out(service, _user(service, user_id))


def _user(service: GatewayService, user_id: str) -> Any:
    # Never the hash of the password.
    columns = [column for column in USERS.c if column.name != "password_hash"]
    with service.accounts.read() as connection:
        row = connection.execute(select(*columns).where(USERS.c.user_id == user_id)).mappings().first()
    if row is None:
        raise not_found("user", user_id[:100], "the list of users has them")
    return row


def _list(service: GatewayService) -> Response:
    query = select(USERS).order_by(USERS.c.email).limit(LIMIT + 1)
    if (text := given("search")) is not None:
        found = or_(USERS.c.email.contains(text.lower(), autoescape=True), USERS.c.name.contains(text, autoescape=True))
        query = query.where(found)
    if (behind := given("after")) is not None:
        query = query.where(USERS.c.email > behind)
    with service.accounts.read() as connection:
        rows = connection.execute(query).mappings().all()
    lines = [
        (
            Cell(row["email"], url_for("admin.user", user_id=row["user_id"])),
            Cell(row["name"]),
            yes(row["is_operator"], "operator", "warn"),
            yes(row["is_disabled"], "disabled", "bad"),
            when_us(row["created_us"]),
            when_us(row["last_login_us"]),
        )
        for row in rows[:LIMIT]
    ]
    columns = ("Email", "Name", "Operator", "State", "Made (UTC)", "Last sign-in (UTC)")
    return listed(
        "Users",
        Table(columns, lines, "No user is found."),
        filters=[Choice("search", "Email or name has", value=request.args.get("search", ""))],
        actions=[Action("New user", url_for("admin.new_user"))],
        following=after(after=rows[LIMIT - 1]["email"]) if len(rows) > LIMIT else None,
    )


def _new(service: GatewayService) -> Response:
    form, error = UserForm(), ""
    query = select(ORGANISATIONS.c.organisation_id, ORGANISATIONS.c.name).order_by(ORGANISATIONS.c.name)
    with service.accounts.read() as connection:
        rows = connection.execute(query).all()
    form.organisation_id.choices = [("", "none")] + [(row.organisation_id, row.name) for row in rows]
    back = url_for("admin.users")
    if form.validate_on_submit():
        values = {
            "email": form.email.data,
            "name": form.name.data or "",
            "is_operator": form.is_operator.data,
            "organisation_id": form.organisation_id.data or None,
            "role": form.role.data,
        }
        try:
            user_id, password = create_user(service, msgspec.convert(values, UserBody))
        except Problem as problem:
            error = sentence(problem)
        except msgspec.ValidationError as invalid:
            error = str(invalid)
        else:
            return _password_page(user_id, password, f"Give {form.email.data} this password for one sign-in.")
    return asked(form, title="New user", button="Make the user", back=back, error=error)


def _password_page(user_id: str, password: str, text: str) -> Response:
    # Not by a redirect: what is flashed stands in a cookie.
    back = url_for("admin.user", user_id=user_id)
    return page("secret.html", title="One-time password", text=text, secret=password, back=back)


def _show(service: GatewayService, row: Any) -> Response:
    user_id = row["user_id"]

    def to(endpoint: str, text: str, *, is_danger: bool = False) -> Action:
        return Action(text, url_for(f"admin.{endpoint}", user_id=user_id), is_danger=is_danger)

    def change(name: str, text: str, *, is_danger: bool = False) -> Action:
        return Action(text, url_for("admin.change_user", user_id=user_id, change=name), is_danger=is_danger)

    actions = [
        change("enable", "Enable") if row["is_disabled"] else change("disable", "Disable", is_danger=True),
        change("no-operator", "No operator any more", is_danger=True)
        if row["is_operator"]
        else change("make-operator", "Make operator", is_danger=True),
        to("reset_password", "Reset password", is_danger=True),
        to("sign_out", "Sign out everywhere", is_danger=True),
    ]
    facts = (
        ("Name", Cell(row["name"])),
        ("Id", Cell(user_id, look="code")),
        ("Operator", yes(row["is_operator"]) if row["is_operator"] else Cell("no")),
        ("State", Cell("disabled", look="bad") if row["is_disabled"] else Cell("may sign in")),
        ("Password", Cell("one-time" if row["must_change_password"] else "of their own")),
        ("Made (UTC)", when_us(row["created_us"])),
        ("Last sign-in (UTC)", when_us(row["last_login_us"])),
    )
    tables = (_memberships(service, user_id), _logins(service, user_id))
    back = ("All users", url_for("admin.users"))
    return shown(Shown(title=row["email"], facts=facts, actions=actions, tables=tables, back=back))


def _memberships(service: GatewayService, user_id: str) -> Table:
    query = (
        select(ORGANISATIONS.c.organisation_id, ORGANISATIONS.c.name, MEMBERSHIPS.c.role, MEMBERSHIPS.c.created_us)
        .join(MEMBERSHIPS, MEMBERSHIPS.c.organisation_id == ORGANISATIONS.c.organisation_id)
        .where(MEMBERSHIPS.c.user_id == user_id)
        .order_by(MEMBERSHIPS.c.created_us)
    )
    with service.accounts.read() as connection:
        rows = connection.execute(query).all()
    lines = [
        (
            Cell(row.name, url_for("admin.organisation", organisation_id=row.organisation_id)),
            Cell(row.role),
            when_us(row.created_us),
        )
        for row in rows
    ]
    return Table(("Organisation", "Role", "Since (UTC)"), lines, "A member of no organisation.", "Organisations")


def _logins(service: GatewayService, user_id: str) -> Table:
    is_open = LOGINS.c.revoked_us.is_(None) & (LOGINS.c.expires_us > service.accounts.now_us())
    query = select(LOGINS).where(LOGINS.c.user_id == user_id, is_open).order_by(LOGINS.c.created_us.desc())
    with service.accounts.read() as connection:
        rows = connection.execute(query.limit(LIMIT)).mappings().all()
    lines = [(Cell(row["kind"]), when_us(row["created_us"]), when_us(row["expires_us"])) for row in rows]
    return Table(("Kind", "Since (UTC)", "Until (UTC)"), lines, "Signed in nowhere.", "Open sign-ins")


def _change(service: GatewayService, row: Any, change: str) -> Response:
    question, button, columns, told = _CHANGES[change]
    back, error = url_for("admin.user", user_id=row["user_id"]), ""
    form = ConfirmForm()
    if form.validate_on_submit():
        try:
            change_one(service, row["user_id"], columns)
        except Problem as problem:
            error = sentence(problem)
        else:
            return done(f"{row['email']} {told}.", back)
    title = f"{button}: {row['email']}?"
    return asked(form, title=title, text=question, button=button, back=back, is_danger=True, error=error)


def _reset(service: GatewayService, row: Any) -> Response:
    form, user_id = ConfirmForm(), row["user_id"]
    if not form.validate_on_submit():
        text = "They are signed out, and get a password for one sign-in. The one of today is no longer good."
        back = url_for("admin.user", user_id=user_id)
        title = f"Reset the password of {row['email']}?"
        return asked(form, title=title, text=text, button="Reset", back=back, is_danger=True)
    password = one_time_password()
    values = {"password_hash": service.sign_in.passwords.hash(password), "must_change_password": True}
    change_one(service, user_id, values)
    return _password_page(user_id, password, f"Give {row['email']} this password for one sign-in.")


def _sign_out(service: GatewayService, row: Any) -> Response:
    form, user_id = ConfirmForm(), row["user_id"]
    back = url_for("admin.user", user_id=user_id)
    if not form.validate_on_submit():
        text = "Every browser and every token of theirs is signed out; API keys stay."
        title = f"Sign {row['email']} out?"
        return asked(form, title=title, text=text, button="Sign out", back=back, is_danger=True)
    with service.accounts.change() as connection:
        end_logins(connection, user_id, service.accounts.now_us())
        audit(connection, "user.signed-out", user_id, organisation_id="")
    return done(f"{row['email']} is signed out everywhere.", back)
