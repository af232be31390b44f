"""Pages on which people sign in, with a password or at an OpenID provider; by keyboard and without scripts."""

from __future__ import annotations

from typing import Any

from flask import (
    Blueprint,
    Response,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from wtforms import HiddenField, PasswordField, StringField  # type: ignore[import-untyped]
from wtforms.validators import InputRequired, Length  # type: ignore[import-untyped]

from gateway import parameters
from gateway.access import Permission
from gateway.accounts.audit import audit
from gateway.accounts.authenticator import LOGIN
from gateway.accounts.logins import end_login
from gateway.accounts.oidc import Provider
from gateway.accounts.passwords import LONGEST, SHORTEST
from gateway.accounts.sign_in import Signed
from gateway.callers import require_person
from gateway.content_security import add_headers, policy
from gateway.guard import needs, open_to_all, principal
from gateway.problems import Problem
from gateway.service import GatewayService

_PASSWORD = (InputRequired(), Length(max=LONGEST))


class LoginForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """Email address and password."""

    email = StringField(validators=[InputRequired(), Length(max=320)])
    password = PasswordField(validators=_PASSWORD)
    next = HiddenField()


class JoinForm(FlaskForm):  # type: ignore[misc]  # likewise
    """An invitation, and who takes it."""

    invitation = HiddenField(validators=[InputRequired(), Length(max=100)])
    name = StringField(validators=[Length(max=200)])
    password = PasswordField(validators=_PASSWORD)


class PasswordForm(FlaskForm):  # type: ignore[misc]  # likewise
    """The password of today, and another."""

    password = PasswordField(validators=_PASSWORD)
    new_password = PasswordField(validators=_PASSWORD)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the pages."""
    routes = Blueprint("login", __name__)
    routes.after_request(add_headers(policy()))
    routes.before_request(parameters.require_plain_form)
    _add_login(routes, service)
    _add_join(routes, service)
    _add_password(routes, service)
    if service.settings.oidc_issuer:
        _add_provider(routes, service)
    return routes


def own_path(text: str | None) -> str:
    """Return where to go after signing in: a path of this site, whatever was asked for.

    >>> own_path("//evil.example/x"), own_path("/docs?x=1")
    ('/', '/docs?x=1')
    """
    if not text or not text.startswith("/") or text[1:2] in ("/", "\\") or any(ord(c) < ord(" ") for c in text):
        return "/"
    return text


def _add_login(routes: Blueprint, service: GatewayService) -> None:
    @routes.get("/login")
    @open_to_all
    def page() -> Response:
        return _login_page(service, LoginForm(next=own_path(request.args.get("next"))))

    @routes.post("/login")
    @open_to_all
    def submit() -> Response:
        form = LoginForm()
        if not form.validate_on_submit():
            return _login_page(service, form, "Type email and password, and send the form again.", 400)
        try:
            signed = service.sign_in.with_password(
                form.email.data, form.password.data, address=request.remote_addr or "", kind="browser"
            )
        except Problem as problem:
            return _login_page(service, form, _sentence(problem), problem.status)
        return _signed_in(signed, form.next.data)

    @routes.post("/logout")
    @needs(Permission.READ)
    def logout() -> Response:
        require_person()
        login_id = session.get(LOGIN)
        session.clear()
        if login_id is not None:
            with service.accounts.change() as connection:
                end_login(connection, login_id, service.accounts.now_us())
                audit(connection, "login.ended", login_id, organisation_id="")
        return _see("/login")


def _add_join(routes: Blueprint, service: GatewayService) -> None:
    @routes.get("/join")
    @open_to_all
    def join() -> Response:
        return _page("join.html", form=JoinForm(), shortest=SHORTEST)

    @routes.post("/join")
    @open_to_all
    def take_invitation() -> Response:
        form = JoinForm()
        if not form.validate_on_submit():
            told = "Open the link of the invitation, choose a password, and send the form."
            return _page("join.html", 400, form=form, error=told, shortest=SHORTEST)
        try:
            signed = service.sign_in.sign_up(
                email="",
                name=form.name.data or "",
                password=form.password.data,
                organisation="",
                invitation=form.invitation.data,
                address=request.remote_addr or "",
                kind="browser",
            )
        except Problem as problem:
            return _page("join.html", problem.status, form=form, error=_sentence(problem), shortest=SHORTEST)
        return _signed_in(signed, "/")


def _add_password(routes: Blueprint, service: GatewayService) -> None:
    @routes.get("/login/password")
    @needs(Permission.READ)
    def password() -> Response:
        require_person()
        return _page("password.html", form=PasswordForm(), shortest=SHORTEST)

    @routes.post("/login/password")
    @needs(Permission.READ)
    def change_password() -> Response:
        require_person()
        form = PasswordForm()
        if not form.validate_on_submit():
            return _page("password.html", 400, form=form, error="Fill in both fields.", shortest=SHORTEST)
        try:
            service.sign_in.change_password(
                principal().user_id,
                form.password.data,
                form.new_password.data,
                address=request.remote_addr or "",
                login_id=session.get(LOGIN),
            )
        except Problem as problem:
            return _page("password.html", problem.status, form=form, error=_sentence(problem), shortest=SHORTEST)
        return _see("/")


def _add_provider(routes: Blueprint, service: GatewayService) -> None:
    # It belongs to the application, which is not there yet.
    providers: list[Provider] = []
    routes.record_once(lambda state: providers.append(Provider(state.app, service.settings)))

    @routes.get("/login/oidc")
    @open_to_all
    def at_provider() -> Any:
        session["next"] = own_path(request.args.get("next"))
        base = service.settings.public_url or request.host_url.rstrip("/")
        try:
            return providers[0].redirect(f"{base}{url_for('login.back')}")
        except Problem as problem:
            return _login_page(service, LoginForm(), _sentence(problem), problem.status)

    @routes.get("/login/oidc/callback")
    @open_to_all
    def back() -> Response:
        try:
            user_id = providers[0].user_of(service.accounts, providers[0].claims())
        except Problem as problem:
            return _login_page(service, LoginForm(), _sentence(problem), problem.status)
        with service.accounts.change() as connection:
            signed = service.sign_in.start(connection, user_id, "browser")
        return _signed_in(signed, session.get("next"))


def _signed_in(signed: Signed, following: str | None) -> Response:
    # Nothing of before stays: neither what somebody else may have planted, nor the token of the form.
    session.clear()
    session[LOGIN] = signed.login_id
    return _see("/login/password" if signed.must_change_password else own_path(following))


def _see(path: str) -> Response:
    return make_response(redirect(path, 303))


def _login_page(service: GatewayService, form: LoginForm, error: str = "", status: int = 200) -> Response:
    settings = service.settings
    offered = settings.oidc_name if settings.oidc_issuer else ""
    following = own_path(form.next.data)
    return _page("login.html", status, form=form, error=error, provider=offered, following=following)


def _page(template: str, status: int = 200, **values: Any) -> Response:
    values.setdefault("error", "")
    return make_response(render_template(template, request_id=g.get("x_request_id", ""), **values), status)


def _sentence(problem: Problem) -> str:
    detail = problem.detail.replace("new_password", "the other password")
    return f"{detail[:1].upper()}{detail[1:]}."
