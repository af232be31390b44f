"""Whatever changes what others see leaves a row in the audit log: each unsafe operation of the OpenAPI document.

An operation is in `AUDITED`, and is carried out here, or in `WITHOUT` with the reason why it needs no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.access import Role
from gateway.accounts.tables import AUDIT
from gateway.guard import permissions
from gateway.openapi.operations import OPERATIONS
from schemas import topics
from schemas.dead_letters import dead_letter_id
from tests import factories
from tests.unit.gateway.matrix import Matrix
from tests.unit.gateway.possessions import plant, possessions, series_of
from tests.unit.gateway.tenants import add_user, tenants
from tests.unit.gateway.test_browser_login import sign_in, token_in

BY_ID = {operation.id: operation for operation in OPERATIONS}
UNSAFE = [operation.id for operation in OPERATIONS if operation.method != "get"]
PASSWORD, NEW_PASSWORD = "four random words", "five quite random words"
_FORECAST = "a forecast changes nothing; GET /api/v1/forecasts says who asked"
_DATA = "data that come in are in the log with their batches; GET /api/v1/ingests says who asked"
_TRAINING = "a version that is trained is not deployed by that; GET /api/v1/trainings says who asked"
WITHOUT = {
    "askForecast": _FORECAST,
    "askForecasts": _FORECAST,
    "predictProject": _FORECAST,
    "predictLast60Days": _FORECAST,
    "startIngest": _DATA,
    "appendObservations": _DATA,
    "runSource": _DATA,
    "loadUpload": _DATA,
    "uploadFile": "a file is read by nobody until it is loaded",
    "startTraining": _TRAINING,
    "trainProject": _TRAINING,
    "refreshTokens": "the login stays the same one",
    "reload": "it does nothing",
}
#: Operation -> the action of its row.
AUDITED = {
    "createWebhook": "webhook.created",
    "changeWebhook": "webhook.changed",
    "rotateWebhookSecret": "webhook.secret-rotated",
    "testWebhook": "webhook.tested",
    "replayDelivery": "delivery.replayed",
    "replayFailedDeliveries": "webhook.replayed",
    "deleteWebhook": "webhook.deleted",
    "cancelTraining": "training.cancelled",
    "deployVersion": "model.deployed",
    "setSource": "source.changed",
    "pauseSource": "source.changed",
    "resumeSource": "source.changed",
    "removeUpload": "upload.removed",
    "createProject": "project.created",
    "changeProject": "project.changed",
    "changeQuotas": "project.quotas",
    "changeOrganisationQuotas": "organisation.quotas",
    "removeProject": "project.removed",
    "releaseQuarantined": "quarantine.released",
    "rejectQuarantined": "quarantine.rejected",
    "replayDeadLetter": "dead-letter.replayed",
    "dropDeadLetter": "dead-letter.dropped",
    "logIn": "login.started",
    "logOut": "login.ended",
    "signUp": "user.created",
    "changePassword": "password.changed",
    "acceptInvitation": "member.added",
    "createOrganisation": "organisation.created",
    "renameOrganisation": "organisation.renamed",
    "changeMember": "member.changed",
    "removeMember": "member.removed",
    "invite": "invitation.created",
    "withdrawInvitation": "invitation.withdrawn",
    "createKey": "key.created",
    "revokeKey": "key.revoked",
    "createUser": "user.created",
    "changeUser": "user.changed",
    "submitLogin": "login.started",
    "logOutBrowser": "login.ended",
    "submitJoin": "user.created",
    "submitPassword": "password.changed",
}


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    folder = tmp_path_factory.mktemp("audit")
    with tenants(folder, files_directory=folder / "files", default_wait_seconds=0.0) as both:
        plant(both, both.apples)
        ids = possessions(both, both.apples)
        yield Matrix(both=both, ids=ids, own={}, needed=permissions(both.world.app), other_project={}, guests={})


def carry_out(matrix: Matrix, name: str, ids: Mapping[str, str] | None = None, **changes: Any) -> Any:
    headers = changes.pop("headers", matrix.both.operator.headers)
    return matrix.call(BY_ID[name], headers, {**matrix.ids, **(ids or {})}, **changes)


def test_every_unsafe_operation_is_audited_or_says_why_not() -> None:
    assert sorted([*AUDITED, *WITHOUT]) == sorted(UNSAFE), "add what is new to AUDITED, or to WITHOUT with a reason"
    assert all(WITHOUT.values())


# What takes a thing away comes last.
@pytest.mark.parametrize("name", sorted(AUDITED, key=lambda name: BY_ID[name].method == "delete"))
def test_a_change_leaves_a_row(matrix: Matrix, name: str) -> None:
    """Red without the `audit` or `note_change` of the operation."""
    accounts = matrix.world.accounts
    prepare = _PREPARED.get(name)
    send: Callable[[], Any] = (lambda: carry_out(matrix, name)) if prepare is None else prepare(matrix)
    with accounts.read() as connection:
        before = connection.scalar(select(func.max(AUDIT.c.sequence))) or 0
    answer = send()
    assert answer.status_code < 400, answer.text
    with accounts.read() as connection:
        rows = connection.execute(select(AUDIT).where(AUDIT.c.sequence > before)).mappings().all()
    (row,) = [row for row in rows if row["action"] == AUDITED[name]]
    assert row["actor"].startswith("user/")
    assert row["subject"]
    assert row["x_request_id"] == answer.headers["X-Request-ID"]


def _with(name: str, **body: Any) -> Callable[[Matrix], Callable[[], Any]]:
    return lambda matrix: lambda: carry_out(matrix, name, json=body)


def _training(matrix: Matrix) -> Callable[[], Any]:
    series_id = series_of(matrix.both.apples)
    request = factories.training_request("runs", model=matrix.ids["model"], series_ids=(series_id,))
    matrix.world.publish(topics.TRAINING_REQUESTS, request)
    matrix.world.settle()
    return lambda: carry_out(matrix, "cancelTraining", {"training_id": "runs"})


def _held(matrix: Matrix) -> Callable[[], Any]:
    batch = {"series_id": series_of(matrix.both.apples)}
    matrix.world.publish(topics.QUARANTINE, factories.observations_quarantined("held-too", batch=batch))
    matrix.world.settle()
    return lambda: carry_out(matrix, "rejectQuarantined", {"quarantine_id": "held-too"})


def _letter(matrix: Matrix) -> Callable[[], Any]:
    letter = factories.dead_letter(offset=999)
    matrix.world.publish(topics.DEAD_LETTERS, letter)
    matrix.world.settle()
    found = dead_letter_id(letter.topic, letter.partition, letter.offset)
    return lambda: carry_out(matrix, "dropDeadLetter", {"dead_letter_id": found})


def _project(matrix: Matrix) -> Callable[[], Any]:
    apples = matrix.both.apples
    made = matrix.world.service.projects.create(
        organisation_id=apples.organisation_id, name="short", description="", created_by=apples.admin.user_id
    )
    return lambda: carry_out(matrix, "removeProject", {"project_id": made})


def _person(matrix: Matrix, email: str) -> dict[str, str]:
    hashed = matrix.world.service.sign_in.passwords.hash(PASSWORD)
    return add_user(matrix.world, email, password_hash=hashed).headers


def _invitation(matrix: Matrix, email: str) -> str:
    path = f"/api/v1/organisations/{matrix.both.apples.organisation_id}/invitations"
    body = {"email": email, "role": "viewer"}
    return str(matrix.world.client.post(path, json=body, headers=matrix.both.apples.admin.headers).get_json()["token"])


def _log_in(matrix: Matrix) -> Callable[[], Any]:
    _person(matrix, "lea@example.org")
    return lambda: carry_out(matrix, "logIn", headers={}, json={"email": "lea@example.org", "password": PASSWORD})


def _log_out(matrix: Matrix) -> Callable[[], Any]:
    headers = _person(matrix, "leo@example.org")
    return lambda: carry_out(matrix, "logOut", headers=headers)


def _sign_up(matrix: Matrix) -> Callable[[], Any]:
    token = _invitation(matrix, "new@example.org")
    body = {"invitation": token, "name": "New", "password": PASSWORD}
    return lambda: carry_out(matrix, "signUp", headers={}, json=body)


def _accept(matrix: Matrix) -> Callable[[], Any]:
    headers, token = _person(matrix, "ben@example.org"), _invitation(matrix, "ben@example.org")
    return lambda: carry_out(matrix, "acceptInvitation", headers=headers, json={"invitation": token})


def _password(matrix: Matrix) -> Callable[[], Any]:
    headers = _person(matrix, "paul@example.org")
    body = {"password": PASSWORD, "new_password": NEW_PASSWORD}
    return lambda: carry_out(matrix, "changePassword", headers=headers, json=body)


def _member(matrix: Matrix) -> Callable[[], Any]:
    organisation_id = matrix.both.apples.organisation_id
    caller = add_user(matrix.world, "short@example.org", {organisation_id: Role.VIEWER})
    return lambda: carry_out(matrix, "removeMember", {"user_id": caller.user_id})


def _key(matrix: Matrix) -> Callable[[], Any]:
    body = {"name": "nightly", "role": "editor", "organisation_id": matrix.both.apples.organisation_id}
    return lambda: carry_out(matrix, "createKey", json=body)


def _project_body(matrix: Matrix) -> Callable[[], Any]:
    body = {"name": "Shops", "organisation_id": matrix.both.apples.organisation_id}
    return lambda: carry_out(matrix, "createProject", json=body)


def _browser(matrix: Matrix, email: str) -> Any:
    _person(matrix, email)
    return matrix.world.app.test_client()


def _form_login(matrix: Matrix) -> Callable[[], Any]:
    browser = _browser(matrix, "form@example.org")
    return lambda: sign_in(browser, "form@example.org")


def _form_logout(matrix: Matrix) -> Callable[[], Any]:
    browser = _browser(matrix, "out@example.org")
    sign_in(browser, "out@example.org")
    token = token_in(browser.get("/login/password").text)
    return lambda: browser.post("/logout", data={"csrf_token": token})


def _form_password(matrix: Matrix) -> Callable[[], Any]:
    browser = _browser(matrix, "word@example.org")
    sign_in(browser, "word@example.org")
    token = token_in(browser.get("/login/password").text)
    values = {"csrf_token": token, "password": PASSWORD, "new_password": NEW_PASSWORD}
    return lambda: browser.post("/login/password", data=values)


def _form_join(matrix: Matrix) -> Callable[[], Any]:
    browser, invitation = matrix.world.app.test_client(), _invitation(matrix, "join@example.org")
    token = token_in(browser.get("/join").text)
    values = {"csrf_token": token, "invitation": invitation, "name": "Jo", "password": PASSWORD}
    return lambda: browser.post("/join", data=values)


#: What an operation needs beside its example and the things of a tenant.
_PREPARED: dict[str, Callable[[Matrix], Callable[[], Any]]] = {
    "setSource": _with("setSource", source="sample", symbol="AAPL", cron="0 6 * * *"),
    "cancelTraining": _training,
    "rejectQuarantined": _held,
    "dropDeadLetter": _letter,
    "createProject": _project_body,
    "removeProject": _project,
    "logIn": _log_in,
    "logOut": _log_out,
    "signUp": _sign_up,
    "acceptInvitation": _accept,
    "changePassword": _password,
    "removeMember": _member,
    "createKey": _key,
    "createUser": _with("createUser", email="made@example.org"),
    "submitLogin": _form_login,
    "logOutBrowser": _form_logout,
    "submitPassword": _form_password,
    "submitJoin": _form_join,
}
