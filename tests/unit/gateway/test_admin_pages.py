"""The pages at /admin: only operators, only with the token of the form, everything that others wrote is text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from gateway.access import Permission, Role
from gateway.accounts import authenticator
from gateway.accounts.tables import API_KEYS, AUDIT, DELIVERIES, LOGINS, MEMBERSHIPS, ORGANISATIONS, USERS, WEBHOOKS
from schemas import topics
from schemas.codec import record_id
from tests import factories
from tests.unit.gateway.tenants import Tenants, add_api_key, add_user, tenants
from tests.unit.gateway.test_browser_login import PASSWORD, sign_in, token_in
from tests.unit.gateway.world import running

SCRIPT = "<script>alert('x')</script>"
BOLD = '"><b>bold</b>'


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("admin")) as found:
        hashed = found.world.service.sign_in.passwords.hash(PASSWORD)
        add_user(found.world, "olga@example.org", is_operator=True, password_hash=hashed)
        member = {found.apples.organisation_id: Role.ADMIN}
        add_user(found.world, "ana@example.org", member, password_hash=hashed, name=SCRIPT)
        _plant(found)
        yield found


def _plant(found: Tenants) -> None:
    """Let a tenant have written markup wherever it can write."""
    world, apples = found.world, found.apples
    with world.accounts.change() as connection:
        named = ORGANISATIONS.c.organisation_id == apples.organisation_id
        connection.execute(update(ORGANISATIONS).where(named).values(name=f"apples {SCRIPT}"))
        connection.execute(update(API_KEYS).where(API_KEYS.c.key_id == apples.admin.key_id).values(name=BOLD))
        webhook = {
            "webhook_id": "wh_1",
            "project_id": apples.project_id,
            "url": f"https://example.org/{SCRIPT}",
            "secret": "whsec_TOPSECRET",
            "events": "[]",
            "is_enabled": True,
            "disabled_reason": "",
            "created_by": apples.admin.user_id,
            "created_us": 1,
        }
        connection.execute(insert(WEBHOOKS), webhook)
        delivery = {
            "delivery_id": "msg_1",
            "webhook_id": "wh_1",
            "event": "forecast.issued",
            "body": b"{}",
            "state": "failed",
            "attempts": 9,
            # The sender of the gateway, whose first turn may be late, removes what ended long ago.
            "created_us": world.accounts.now_us(),
            "last_status": 500,
            "last_error": SCRIPT,
        }
        connection.execute(insert(DELIVERIES), delivery)
    world.service.project_rows.change(
        world.service.project_rows.get(apples.project_id), name=f"plums {SCRIPT}", description=BOLD
    )
    world.publish(topics.QUARANTINE, factories.observations_quarantined("held-1"))
    world.publish(topics.DEAD_LETTERS, LETTER)
    world.settle()


LETTER = factories.dead_letter(
    topic="training-requests",
    key=BOLD.encode(),
    value=SCRIPT.encode(),
    reason=f"not JSON: {SCRIPT}",
    headers={SCRIPT: b"\xff", "h": BOLD.encode()},
)
LETTER_ID = record_id(LETTER)


@pytest.fixture
def operator(two: Tenants) -> FlaskClient:
    browser = two.world.app.test_client()
    assert sign_in(browser, "olga@example.org").status_code == 303
    return browser


@pytest.fixture
def member(two: Tenants) -> FlaskClient:
    browser = two.world.app.test_client()
    assert sign_in(browser, "ana@example.org").status_code == 303
    return browser


def values_of(two: Tenants) -> dict[str, str]:
    return {
        "user_id": two.pears.viewer.user_id,
        "organisation_id": two.pears.organisation_id,
        "project_id": two.apples.project_id,
        "key_id": two.pears.viewer.key_id,
        "quarantine_id": "held-1",
        "dead_letter_id": LETTER_ID,
        "delivery_id": "msg_1",
        "change": "disable",
        "decision": "release",
        "what": "drop",
    }


def paths(two: Tenants, method: str) -> list[str]:
    """Return every path below /admin that takes a method."""
    with two.world.app.test_request_context():
        adapter = two.world.app.url_map.bind("localhost")
        rules = [rule for rule in two.world.app.url_map.iter_rules() if rule.endpoint.startswith("admin.")]
        values = values_of(two)
        found = [
            adapter.build(rule.endpoint, {name: values[name] for name in rule.arguments}, method=method)
            for rule in rules
            if method in (rule.methods or ())
        ]
    assert len(found) > 10
    return found


def send(browser: FlaskClient, path: str, **fields: str) -> Any:
    """Fill in the form of a page and send it."""
    page = browser.get(path)
    assert page.status_code == 200, page.text
    return browser.post(path, data={"csrf_token": token_in(page.text)} | fields)


def told(browser: FlaskClient, answer: Any) -> str:
    """Return what the page after a change tells."""
    assert answer.status_code == 303, answer.text
    found = re.search(r'role="status"><bdi>(.*?)</bdi>', browser.get(answer.headers["Location"]).text, re.DOTALL)
    assert found
    return html.unescape(found[1])


def actions(two: Tenants, subject: str) -> list[str]:
    with two.world.accounts.read() as connection:
        return list(
            connection.scalars(select(AUDIT.c.action).where(AUDIT.c.subject == subject).order_by(AUDIT.c.sequence))
        )


def test_an_operator_sees_every_page(two: Tenants, operator: FlaskClient) -> None:
    for path in paths(two, "GET"):
        answer = operator.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_member_who_is_no_operator_is_refused_everywhere(two: Tenants, member: FlaskClient, method: str) -> None:
    """Red where a view is marked with less than OPERATE; an admin of an organisation is no operator."""
    page = member.get("/").text
    token = re.search(r'<meta name="csrf-token" content="([^"]+)"', page)
    assert token
    before = _everything(two)
    for path in paths(two, method):
        answer = member.open(path, method=method, data={"csrf_token": token[1]} if method == "POST" else None)
        assert (answer.status_code, "Users" in answer.text) == (403, False), path
    assert _everything(two) == before


def test_who_has_not_signed_in_is_led_to_where_they_can(two: Tenants) -> None:
    for path in paths(two, "GET"):
        answer = two.world.app.test_client().get(path)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, "/login"), path
        assert answer.headers["Location"].startswith("/login?next=%2Fadmin")
    for path in paths(two, "POST"):
        answer = two.world.app.test_client().post(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=%2Fadmin"), path


def test_an_api_key_is_not_for_these_pages(two: Tenants) -> None:
    """Red without `require_no_key` in gateway.admin.blueprint."""
    scopes = {Permission.OPERATE, Permission.READ}
    _, key = add_api_key(two.world, two.apples.organisation_id, two.operator, Role.ADMIN, scopes=scopes)
    for path, headers, status in (
        ("/admin/users", two.operator.headers, 200),
        ("/api/v1/users", {"Authorization": f"Bearer {key}"}, 200),
        ("/admin/users", {"Authorization": f"Bearer {key}"}, 403),
    ):
        assert two.world.client.get(path, headers=headers).status_code == status


@pytest.mark.parametrize("token", [None, "", "forged", "of-another"])
def test_no_form_does_anything_without_the_token_of_its_session(
    two: Tenants, operator: FlaskClient, token: str
) -> None:
    """Red only without `require_csrf_token` in the authenticator and the check of the form: one is enough here.

    `test_browser_login` shows the first alone, the next test the second.
    """
    if token == "of-another":
        token = token_in(two.world.app.test_client().get("/login").text)
    before = _everything(two)
    for path in paths(two, "POST"):
        answer = operator.post(path, data={} if token is None else {"csrf_token": token})
        assert answer.status_code in (400, 403), path
    assert _everything(two) == before


def test_every_form_asks_for_the_token_itself(
    two: Tenants, operator: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without `validate_on_submit` in any page: on a machine of one's own nothing else asks for it."""
    monkeypatch.setattr(authenticator, "require_csrf_token", lambda _request: None)
    before = _everything(two)
    for path in paths(two, "POST"):
        assert operator.post(path).status_code == 400, path
    assert _everything(two) == before


def test_a_machine_of_ones_own_asks_for_the_token_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Red without `validate_on_submit` in a page: there is no cookie that somebody signed in with."""
    with running(tmp_path_factory.mktemp("local")) as world:
        browser = world.app.test_client()
        for path in ("/admin/organisations/new", "/admin/users/new", "/admin/signing-keys/rotate"):
            values = {"name": "pears", "email": "bob@example.org", "role": "viewer"}
            assert browser.post(path, data=values).status_code == 400, path
        assert "pears" not in browser.get("/admin/organisations").text
        made = send(browser, "/admin/organisations/new", name="pears")
        assert (made.status_code, "pears" in browser.get("/admin/organisations").text) == (303, True)


def _everything(two: Tenants) -> list[Any]:
    """Return what the pages can change."""
    with two.world.accounts.read() as connection:
        rows: list[Any] = [
            connection.execute(select(table)).all()
            for table in (USERS, ORGANISATIONS, MEMBERSHIPS, API_KEYS, DELIVERIES)
        ]
    letter, held = two.world.service.dead_letters.get(LETTER_ID), two.world.service.queries.quarantined("held-1")
    assert letter is not None
    assert held is not None
    return [*rows, letter["decision"], held["decision"]]


def test_what_others_wrote_is_shown_as_text(two: Tenants, operator: FlaskClient) -> None:
    """Red with `|safe` or `Markup` anywhere: only the one script of the theme stands in a page."""
    pages = {
        path: operator.get(path).text
        for path in [*paths(two, "GET"), f"/admin/organisations/{two.apples.organisation_id}"]
    }
    for path, page in pages.items():
        assert "<script>" not in page, path
        assert page.count("<script") == 1, path
        assert "<b>" not in page, path
        assert not re.search(r"\son\w+=|style=|javascript:", page), path
    shown = html.unescape(pages[f"/admin/dead-letters/{LETTER_ID}"])
    assert shown.count(SCRIPT) >= 3
    assert "3c 73 63 72 69 70 74 3e" in shown
    for path in ("/admin/projects", "/admin/organisations", "/admin/webhooks"):
        assert SCRIPT in html.unescape(pages[path]), path
    assert BOLD in html.unescape(pages["/admin/keys"])


def test_no_secret_is_shown(two: Tenants, operator: FlaskClient) -> None:
    with two.world.accounts.read() as connection:
        hashes = list(connection.scalars(select(USERS.c.password_hash).where(USERS.c.password_hash.is_not(None))))
        keys = [each.hex() for each in connection.scalars(select(API_KEYS.c.key_hash))]
    for path in paths(two, "GET"):
        page = html.unescape(operator.get(path).text)
        for secret in (*hashes, *keys, "$argon2", "whsec_", two.apples.admin.key, '"d":'):
            assert secret not in page, path


def test_the_policy_lets_no_script_or_style_inside_the_html_run(operator: FlaskClient) -> None:
    headers = operator.get("/admin").headers
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "script-src 'self';" in headers["Content-Security-Policy"]
    assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")


def test_a_user_is_made_with_a_password_for_one_sign_in(two: Tenants, operator: FlaskClient) -> None:
    values = {
        "email": "Nina@example.org",
        "name": SCRIPT,
        "role": "editor",
        "organisation_id": two.apples.organisation_id,
    }
    answer = send(operator, "/admin/users/new", **values)
    password = html.unescape(re.findall(r'class="secret">(.*?)<', answer.text)[0])
    assert answer.headers["Cache-Control"] == "no-store"
    assert password not in answer.headers.get("Set-Cookie", "")

    browser = two.world.app.test_client()
    token = token_in(browser.get("/login").text)
    signed = browser.post("/login", data={"csrf_token": token, "email": "nina@example.org", "password": password})
    assert signed.headers["Location"] == "/login/password"
    again = send(operator, "/admin/users/new", **values)
    assert (again.status_code, "signed up with this email" in again.text) == (400, True)
    assert send(operator, "/admin/users/new", **values | {"email": SCRIPT}).status_code == 400
    assert "<script>" not in send(operator, "/admin/users/new", **values | {"email": SCRIPT}).text


def test_a_user_is_disabled_signed_out_and_given_another_password(two: Tenants, operator: FlaskClient) -> None:
    victim = add_user(two.world, "vera@example.org")
    path = f"/admin/users/{victim.user_id}"
    assert told(operator, send(operator, f"{path}/disable")) == "vera@example.org is disabled."
    assert two.world.client.get("/api/v1/me", headers=victim.headers).status_code == 401
    assert "disabled" in operator.get("/admin/users?search=vera").text
    send(operator, f"{path}/enable")
    assert told(operator, send(operator, f"{path}/make-operator")) == "vera@example.org is an operator."
    send(operator, f"{path}/no-operator")
    assert 'class="secret"' in send(operator, f"{path}/reset-password").text
    assert told(operator, send(operator, f"{path}/sign-out")) == "vera@example.org is signed out everywhere."
    with two.world.accounts.read() as connection:
        is_open = (LOGINS.c.user_id == victim.user_id) & LOGINS.c.revoked_us.is_(None)
        assert connection.execute(select(LOGINS).where(is_open)).all() == []
    assert actions(two, victim.user_id) == ["user.changed"] * 5 + ["user.signed-out"]


def test_members_projects_and_keys_are_changed_by_the_rules(two: Tenants, operator: FlaskClient) -> None:
    pears = two.pears
    path = f"/admin/organisations/{pears.organisation_id}/members"
    refused = send(operator, f"{path}/{pears.admin.user_id}/remove")
    assert (refused.status_code, "needs an admin" in refused.text) == (400, True)
    assert send(operator, f"{path}/{pears.editor.user_id}/role", role="king").status_code == 400
    assert told(operator, send(operator, f"{path}/{pears.editor.user_id}/role", role="admin")).endswith("another role.")
    assert told(operator, send(operator, f"{path}/{pears.editor.user_id}/remove")).endswith("is removed.")
    assert actions(two, pears.editor.user_id) == ["member.changed", "member.removed"]

    assert told(operator, send(operator, f"/admin/keys/{pears.viewer.key_id}/revoke")) == "The key test is revoked."
    assert two.world.client.get("/api/v1/me", headers=pears.viewer.key_headers).status_code == 401

    project = f"/admin/projects/{pears.project_id}"
    assert send(operator, f"{project}/quotas", forecasts_a_day="many").status_code == 400
    assert send(operator, f"{project}/quotas", forecasts_a_day="-1").status_code == 400
    send(operator, f"{project}/quotas", forecasts_a_day="7", trainings_a_day="", rows_a_day="9")
    row = two.world.service.project_rows.get(pears.project_id)
    assert row is not None
    assert (row.quotas.forecasts_a_day, row.quotas.trainings_a_day, row.quotas.rows_a_day) == (7, None, 9)

    organisation = f"/admin/organisations/{pears.organisation_id}"
    assert send(operator, f"{organisation}/quotas", upload_bytes="-1").status_code == 400
    send(operator, f"{organisation}/quotas", upload_bytes=str(5 * 2**40), projects="", rows_a_day="11")
    quotas = two.world.service.shares.quotas(pears.organisation_id)
    assert (quotas.upload_bytes, quotas.projects, quotas.rows_a_day) == (5 * 2**40, None, 11)
    shown = operator.get(organisation).text
    assert f"of {5 * 2**40}" in shown
    assert "0 of 11" in shown


def test_signing_keys_are_rotated(two: Tenants, operator: FlaskClient) -> None:
    before = two.world.service.keyring.signing().key_id
    assert told(operator, send(operator, "/admin/signing-keys/rotate")).endswith("signs from now on.")
    assert two.world.service.keyring.signing().key_id != before
    # What it signed is good until it expires.
    assert two.world.client.get("/api/v1/me", headers=two.operator.headers).status_code == 200


def test_held_rows_and_dead_letters_are_decided_about(two: Tenants, operator: FlaskClient) -> None:
    world = two.world
    world.publish(topics.QUARANTINE, factories.observations_quarantined("held-2"))
    letter = factories.dead_letter(offset=5, topic="training-requests", value=b"again")
    world.publish(topics.DEAD_LETTERS, letter)
    world.settle()
    assert "in pence" in operator.get("/admin/quarantine/held-2").text
    assert told(operator, send(operator, "/admin/quarantine/held-2/reject", reason="wrong")).endswith("are rejected.")
    assert "first decision" in send(operator, "/admin/quarantine/held-2/release").text

    path = f"/admin/dead-letters/{record_id(letter)}"
    assert told(operator, send(operator, f"{path}/replay", reason="mended")) == "The message was sent again."
    assert "mended" in operator.get(path).text
    assert send(operator, f"{path}/drop").status_code == 400
    assert actions(two, "held-2") == ["quarantine.rejected"]
    assert actions(two, record_id(letter)) == ["dead-letter.replayed"]


def test_a_failed_delivery_is_tried_again(two: Tenants, operator: FlaskClient) -> None:
    with two.world.accounts.change() as connection:
        row = {
            "delivery_id": "msg_2",
            "webhook_id": "wh_1",
            "event": "forecast.issued",
            "body": b"{}",
            "state": "failed",
        }
        made = {"attempts": 9, "created_us": two.world.accounts.now_us(), "last_error": ""}
        connection.execute(insert(DELIVERIES), {**row, **made})
    assert told(operator, send(operator, "/admin/webhooks/deliveries/msg_2/replay")) == "The delivery is tried again."
    with two.world.accounts.read() as connection:
        assert connection.scalar(select(DELIVERIES.c.state).where(DELIVERIES.c.delivery_id == "msg_2")) != "failed"
    assert operator.get("/admin/webhooks/deliveries/msg_2/replay").status_code == 404


def test_the_audit_log_is_filtered(operator: FlaskClient) -> None:
    send(operator, "/admin/organisations/new", name="cherries")
    page = operator.get("/admin/audit?action=organisation.&actor=").text
    assert "cherries" in page
    assert "login.started" not in page.split("<tbody>")[1]
    assert "No change is found." in operator.get("/admin/audit?action=nothing").text
    assert operator.get("/admin/audit?actor=%00").status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "users/nobody",
        "organisations/nothing",
        "projects/nothing",
        "keys/nothing/revoke",
        "quarantine/nothing",
        "dead-letters/x",
    ],
)
def test_what_does_not_exist_is_a_page_that_says_so(operator: FlaskClient, path: str) -> None:
    answer = operator.get(f"/admin/{path}")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")


def test_empty_lists_say_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("empty")) as world:
        world.settle()
        for part in ("users", "organisations", "projects", "keys", "quarantine", "dead-letters", "webhooks", "audit"):
            page = world.client.get(f"/admin/{part}")
            assert (page.status_code, 'class="empty"' in page.text) == (200, True), part


def test_the_first_page_leads_operators_here(operator: FlaskClient, member: FlaskClient) -> None:
    assert ['href="/admin"' in browser.get("/").text for browser in (operator, member)] == [True, False]
