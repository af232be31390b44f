"""Who is let in, and who no longer."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from gateway.access import Permission, Role
from tests.unit.gateway.tenants import Tenants, add_user, tenants
from tests.unit.gateway.test_browser_login import PASSWORD, sign_in


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("tenants")) as found:
        yield found


def test_nobody_is_turned_away_and_told_how_to_sign_in(two: Tenants) -> None:
    answer = two.world.client.get("/api/v1/series")

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_tokens_and_keys_of_everybody_are_good(two: Tenants) -> None:
    for tenant in (two.apples, two.pears):
        for member in tenant.members.values():
            assert two.world.client.get("/api/v1/series", headers=member.headers).status_code == 200
            assert two.world.client.get("/api/v1/series", headers=member.key_headers).status_code == 200
    assert two.world.client.get("/api/v1/series", headers=two.operator.headers).status_code == 200


def test_a_cookie_alone_changes_nothing_on_any_route(two: Tenants) -> None:
    """Red when a method or a route passes `SameSite.is_unsafe`, or goes without `require_csrf_token`."""
    hashed = two.world.service.sign_in.passwords.hash(PASSWORD)
    add_user(two.world, "dora@example.org", password_hash=hashed, is_operator=True)
    browser = two.world.app.test_client()
    with browser.session_transaction() as session:
        session["planted"] = "by who had the browser before"
    sign_in(browser, "dora@example.org")
    with browser.session_transaction() as session:
        # Red without `session.clear` in `login_pages`.
        assert set(session) == {"login"}
    by_body = {"auth.login", "auth.refresh"}  # they know nobody by the cookie

    answers = {
        (method, rule.rule): browser.open(re.sub("<[^>]+>", "x", rule.rule), method=method)
        for rule in two.world.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}
        if rule.endpoint not in by_body
    }

    assert {method for method, _ in answers} == {"DELETE", "PATCH", "POST", "PUT"}
    assert {name: answer.status_code for name, answer in answers.items() if answer.status_code != 403} == {}
    assert {name for name, answer in answers.items() if "token of its page" not in answer.text} == set()


def test_a_key_may_do_no_more_than_its_scopes(two: Tenants) -> None:
    headers = two.key(two.apples, Role.ADMIN, scopes={Permission.READ})

    assert two.world.client.get("/api/v1/series", headers=headers).status_code == 200
    assert two.world.client.post("/api/v1/trainings", headers=headers, json={}).status_code == 403
