"""The first operator of a gateway with accounts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.accounts.first_operator import announcement, make_first_operator
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
