"""The first operator of a gateway with accounts."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.accounts.first_operator import announcement, make_first_operator
from gateway.accounts.tables import API_KEYS
from tests.unit.gateway.tenants import SETTINGS
from tests.unit.gateway.world import World, running

EMAIL = "operator@foretopic.local"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("gateway"), **SETTINGS) as started:
        yield started


def test_the_first_start_makes_an_operator_and_the_second_makes_none(world: World) -> None:
    passwords = world.service.sign_in.passwords
    password = make_first_operator(world.accounts, passwords, EMAIL)
    assert password is not None
    assert make_first_operator(world.accounts, passwords, EMAIL) is None
    assert password in announcement(EMAIL, password, "http://127.0.0.1:5000")

    login = {"email": EMAIL, "password": password}
    signed = world.client.post("/api/v1/auth/login", json=login).get_json()
    headers = {"Authorization": f"Bearer {signed['access_token']}"}
    assert world.client.get("/api/v1/users", headers=headers).status_code == 403
    changed = {"password": password, "new_password": "four random words"}
    assert world.client.post("/api/v1/auth/password", headers=headers, json=changed).status_code == 204
    assert world.client.get("/api/v1/users", headers=headers).status_code == 200
    (own,) = world.client.get("/api/v1/me", headers=headers).get_json()["organisations"]
    assert (own["name"], own["role"]) == ("Operators", "admin")


def test_the_program_of_the_first_start_gets_a_key_that_ends_after_a_day(tmp_path: Path) -> None:
    """Red without the scopes of the key (403), or without the mode of the file in `_write`."""
    file = tmp_path / "first-start" / "key"
    with running(tmp_path / "gateway", **SETTINGS) as world:
        assert make_first_operator(world.accounts, world.service.sign_in.passwords, EMAIL, file) is not None
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        headers = {"Authorization": f"Bearer {file.read_text()}"}
        (key,) = [
            row
            for row in world.client.get("/api/v1/audit", headers=headers).get_json()["audit"]
            if row["action"] == "key.created"
        ]
        assert key["actor"] == "first-start"
        with world.accounts.read() as connection:
            row = connection.execute(select(API_KEYS)).one()
        assert row.expires_us - row.created_us == 24 * 3600 * 1_000_000
