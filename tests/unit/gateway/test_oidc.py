"""Signing in at a real OpenID provider on loopback, honest and not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from sqlalchemy import update

from gateway.accounts.tables import USERS
from tests.unit.gateway.oidc_server import CLIENT_ID, CLIENT_SECRET, OidcServer, oidc_server
from tests.unit.gateway.tenants import Tenants, add_user, tenants

pytestmark = pytest.mark.loopback
NEW = {"sub": "1", "email": "new@example.org", "email_verified": True, "name": "New"}


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcServer]:
    with oidc_server() as found:
        yield found


@pytest.fixture(scope="module")
def two(provider: OidcServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    settings = {
        "oidc_issuer": provider.url,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_allowed_domains": ("example.org",),
        "oidc_signup": "open",
    }
    with tenants(tmp_path_factory.mktemp("tenants"), **settings) as found:
        yield found


@pytest.fixture(autouse=True)
def honest(provider: OidcServer) -> None:
    provider.lies, provider.signs_with, provider.issuer, provider.faults = {}, None, "", []
    provider.algorithm = "RS256"


def asked_of(browser: FlaskClient) -> dict[str, str]:
    answer = browser.get("/login/oidc?next=/docs")
    assert answer.status_code == 302, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def sign_in(two: Tenants, provider: OidcServer, **claims: Any) -> tuple[FlaskClient, Any]:
    provider.claims = claims
    browser = two.world.app.test_client()
    back = provider.authorize(asked_of(browser))
    assert provider.faults == []
    assert back.startswith("http://localhost/login/oidc/callback?")
    return browser, browser.get(back.removeprefix("http://localhost"))


def test_somebody_new_gets_an_account_and_comes_back_to_it(two: Tenants, provider: OidcServer) -> None:
    browser, answer = sign_in(two, provider, **NEW)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/docs"), answer.text
    me = browser.get("/api/v1/me").get_json()
    assert (me["email"], me["organisations"][0]["role"]) == ("new@example.org", "admin")

    # By the subject: the address may have changed there.
    browser, _ = sign_in(two, provider, **NEW | {"email": "other@example.org"})
    assert browser.get("/api/v1/me").get_json()["user_id"] == me["user_id"]


def test_an_address_that_went_to_another_person_is_not_theirs_here(two: Tenants, provider: OidcServer) -> None:
    """Red without the look for an identity of the same provider in `Provider._new_user`."""
    first = NEW | {"sub": "left", "email": "recycled@example.org"}
    sign_in(two, provider, **first)

    browser, answer = sign_in(two, provider, **first | {"sub": "came"})

    assert answer.status_code == 403
    assert "another person" in answer.text
    assert browser.get("/api/v1/me").status_code == 401


def test_an_invitation_waits_for_its_address(two: Tenants, provider: OidcServer) -> None:
    path = f"/api/v1/organisations/{two.apples.organisation_id}/invitations"
    two.world.client.post(path, headers=two.apples.admin.headers, json={"email": "invited@example.org"})

    browser, _ = sign_in(two, provider, **NEW | {"sub": "2", "email": "invited@example.org"})

    (own,) = browser.get("/api/v1/me").get_json()["organisations"]
    assert (own["organisation_id"], own["role"]) == (two.apples.organisation_id, "viewer")


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"email_verified": False}, "not verified"),
        ({"email_verified": "true"}, "not verified"),
        ({"email": ""}, "not verified"),
        ({"email": "new@evil.example"}, "domain"),
        ({"email": "new@example.org.evil.example"}, "domain"),
        ({"email": "taken@example.org"}, "password"),
    ],
)
def test_who_may_not_sign_in_is_told_why(two: Tenants, provider: OidcServer, claims: dict[str, Any], told: str) -> None:
    with two.world.accounts.read() as connection:
        is_there = connection.exec_driver_sql("SELECT 1 FROM users WHERE email = 'taken@example.org'").first()
    if is_there is None:
        add_user(two.world, "taken@example.org", password_hash="$argon2id$")

    browser, answer = sign_in(two, provider, **NEW | {"sub": "3"} | claims)

    # Goes red without the conditions in `Provider._new_user`; the last one keeps an account that somebody else made
    # with a password from being joined to the owner of the address.
    assert answer.status_code == 403
    assert told in answer.text
    assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    "lies",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another-client"},
        {"iss": "https://evil.example"},
        {"exp": 1},
        {"sub": ""},
    ],
    ids=str,
)
def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    two: Tenants, provider: OidcServer, lies: dict[str, Any]
) -> None:
    provider.lies = lies
    browser, answer = sign_in(two, provider, **NEW)

    assert answer.status_code == 502
    assert browser.get("/api/v1/me").status_code == 401


def test_an_id_token_of_another_key_is_refused(two: Tenants, provider: OidcServer) -> None:
    provider.signs_with = RSAKey.generate_key(2048)
    browser, answer = sign_in(two, provider, **NEW)

    assert answer.status_code == 502
    assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_id_token_by_another_algorithm_is_refused(two: Tenants, provider: OidcServer, algorithm: str) -> None:
    """The provider says that it signs so, too: refused by `_ALGORITHMS`, and by its published key, which is none of these."""
    provider.algorithm = algorithm
    browser, answer = sign_in(two, provider, **NEW)

    assert answer.status_code == 502
    assert browser.get("/api/v1/me").status_code == 401


def test_an_account_that_is_closed_stays_closed(two: Tenants, provider: OidcServer) -> None:
    """Red without `is_disabled` in `Provider.user_of`."""
    claims = NEW | {"sub": "closed", "email": "closed@example.org"}
    sign_in(two, provider, **claims)
    with two.world.accounts.change() as connection:
        connection.execute(update(USERS).where(USERS.c.email == claims["email"]).values(is_disabled=True))

    browser, answer = sign_in(two, provider, **claims)

    assert (answer.status_code, "closed" in answer.text) == (403, True)
    assert browser.get("/api/v1/me").status_code == 401


def test_who_was_not_invited_gets_no_account(provider: OidcServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Red without `oidc_signup` in `Provider._new_user`."""
    settings = {"oidc_issuer": provider.url, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}
    with tenants(tmp_path_factory.mktemp("invited"), **settings) as found:
        browser, answer = sign_in(found, provider, **NEW)
        assert (answer.status_code, "invited" in answer.text) == (403, True)
        assert browser.get("/api/v1/me").status_code == 401


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(two: Tenants, provider: OidcServer) -> None:
    provider.claims = NEW
    attacker, victim = two.world.app.test_client(), two.world.app.test_client()
    back = provider.authorize(asked_of(attacker)).removeprefix("http://localhost")

    # Goes red without the state in the session: somebody could be signed in as another (login CSRF).
    assert victim.get(back).status_code == 502
    own = asked_of(victim)
    stolen = back.partition("state=")[0] + f"state={own['state']}"
    # Goes red without PKCE at the provider: the code of one browser is of no use in another.
    assert victim.get(stolen).status_code == 502
    assert victim.get("/api/v1/me").status_code == 401
    assert victim.get("/login/oidc/callback?error=access_denied&state=x").status_code == 502


def test_a_provider_of_another_name_is_not_ours(provider: OidcServer, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = {"oidc_issuer": provider.url, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}
    provider.issuer = "https://evil.example"
    with tenants(tmp_path_factory.mktemp("other"), **settings) as found:
        answer = found.world.app.test_client().get("/login/oidc")
    assert answer.status_code == 502


def test_the_sign_in_page_offers_the_provider(two: Tenants) -> None:
    assert "/login/oidc" in two.world.client.get("/login").text
