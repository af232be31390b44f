"""Passwords, tokens, keys and cookies that somebody sends appear in no answer that refuses them, and in no log line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import IntegrityError

from gateway.accounts.keys import LastUses
from gateway.accounts.tables import API_KEYS
from gateway.store import StoreUnavailable
from tests.unit.gateway.tenants import Tenants, tenants

SECRET = "planted-hunter2-planted"
AUTH = "/api/v1/auth"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("tenants")) as found:
        yield found


#: Path, what is sent: each has the secret in it, and each is refused.
PLANTED: list[tuple[str, str, dict[str, Any]]] = [
    ("post", f"{AUTH}/login", {"json": {"email": "ana@example.org", "password": SECRET}}),
    ("post", f"{AUTH}/login", {"json": {"email": SECRET, "password": SECRET}}),
    ("post", f"{AUTH}/login", {"json": {"email": "a@example.org", "password": [SECRET]}}),
    ("post", f"{AUTH}/login", {"json": {"email": "a@example.org", "pasword": SECRET}}),
    ("post", f"{AUTH}/login", {"json": [SECRET]}),
    ("post", f"{AUTH}/login", {"json": {"email": "a@example.org", "password": SECRET * 40}}),
    ("post", f"{AUTH}/login", {"data": f'{{"password": "{SECRET}', "content_type": "application/json"}),
    ("post", f"{AUTH}/login", {"data": f"password={SECRET}", "content_type": "text/plain"}),
    ("post", f"{AUTH}/refresh", {"json": {"refresh_token": SECRET}}),
    ("post", f"{AUTH}/refresh", {"json": {"refresh_token": {"token": SECRET}}}),
    ("post", f"{AUTH}/signup", {"json": {"invitation": SECRET, "password": SECRET}}),
    ("post", f"{AUTH}/signup", {"json": {"email": "x@example.org", "password": SECRET}}),
    ("post", f"{AUTH}/signup", {"json": {"email": "x@example.org", "invitation": SECRET, "password": SECRET}}),
    ("post", f"{AUTH}/password", {"json": {"password": SECRET, "new_password": SECRET}}),
    ("post", f"{AUTH}/password", {"json": {"password": SECRET, "new_password": 5}}),
    ("post", "/api/v1/invitations/accept", {"json": {"invitation": SECRET}}),
    ("get", "/api/v1/me", {"headers": {"Authorization": f"Bearer {SECRET}"}}),
    ("get", "/api/v1/me", {"headers": {"Authorization": f"Bearer ftp_{SECRET}"}}),
    ("get", "/api/v1/me", {"headers": {"Authorization": f"Basic {SECRET}"}}),
    ("get", "/api/v1/me", {"headers": {"Authorization": SECRET}}),
    ("get", "/api/v1/me", {"headers": {"Cookie": f"foretopic={SECRET}"}}),
    ("post", "/api/v1/trainings", {"headers": {"X-CSRF-Token": SECRET, "Cookie": f"foretopic={SECRET}"}, "json": {}}),
    ("post", "/login", {"data": {"email": "ana@example.org", "password": SECRET, "csrf_token": SECRET}}),
    ("post", "/join", {"data": {"invitation": "x", "password": SECRET, "csrf_token": SECRET}}),
]


@pytest.mark.parametrize("as_admin", [False, True], ids=["nobody", "admin"])
def test_what_is_planted_comes_out_nowhere(two: Tenants, caplog: pytest.LogCaptureFixture, as_admin: bool) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as lines:
        for method, path, sent in PLANTED:
            headers = {**(two.apples.admin.headers if as_admin else {}), **sent.get("headers", {})}
            answer = two.world.client.open(path, method=method.upper(), **{**sent, "headers": headers})
            # Goes red without `SecretBody`, or with the value in the answer to bad credentials.
            if as_admin and path == "/api/v1/me" and "Cookie" in headers:
                continue
            assert answer.status_code >= 400, (path, sent, answer.text)
            assert SECRET not in answer.text, (path, sent)
            assert SECRET not in str(answer.headers), (path, sent)

    assert len(lines) >= len(PLANTED)
    assert SECRET not in repr(lines)
    assert SECRET not in caplog.text


def test_what_is_given_out_comes_into_no_log_line(two: Tenants, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client, headers = two.world.client, two.apples.admin.headers
    with structlog.testing.capture_logs() as lines:
        key = client.post("/api/v1/keys", headers=headers, json={"name": "k"}).get_json()["key"]
        invited = client.post(
            f"/api/v1/organisations/{two.apples.organisation_id}/invitations",
            headers=headers,
            json={"email": "y@example.org"},
        ).get_json()
        signed = client.post(
            f"{AUTH}/signup", json={"invitation": invited["token"], "password": "four random words"}
        ).get_json()
        client.get("/api/v1/me", headers={"Authorization": f"Bearer {key}"})
        client.get("/api/v1/me", headers={"Authorization": f"Bearer {signed['access_token']}"})

    told = repr(lines) + caplog.text
    for secret in (key, invited["token"], signed["access_token"], signed["refresh_token"], "four random words"):
        assert secret not in told
        assert secret[12:] not in told


def test_a_key_whose_use_cannot_be_noted_is_good_and_in_no_log_line(
    two: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when `AccountAuthenticator._of_key` logs what was sent, or lets the fault through."""

    def away(*_: object) -> None:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(LastUses, "note", away)
    headers = two.apples.admin.key_headers
    with structlog.testing.capture_logs() as lines:
        answer = two.world.client.get("/api/v1/me", headers=headers)

    assert answer.status_code == 200
    assert "last-use-not-noted" in {line["event"] for line in lines}
    assert headers["Authorization"].removeprefix("Bearer ") not in repr(lines)


def test_an_error_of_the_database_does_not_show_what_was_written(two: Tenants) -> None:
    row = {"key_id": "k", "key_hash": b"x", "shown": "x", "name": SECRET, "organisation_id": "nowhere"}
    row |= {"role": "viewer", "created_by": "nobody", "created_us": 1}

    # Goes red without `hide_parameters`; and references between rows hold.
    with pytest.raises(IntegrityError) as raised, two.world.accounts.write() as connection:
        connection.execute(API_KEYS.insert(), row)
    assert SECRET not in str(raised.value)
