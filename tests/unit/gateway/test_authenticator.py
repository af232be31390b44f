"""Who is let in, and who no longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.access import Permission, Role
from tests.unit.gateway.tenants import Tenants, tenants


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


def test_a_key_may_do_no_more_than_its_scopes(two: Tenants) -> None:
    headers = two.key(two.apples, Role.ADMIN, scopes={Permission.READ})

    assert two.world.client.get("/api/v1/series", headers=headers).status_code == 200
    assert two.world.client.post("/api/v1/trainings", headers=headers, json={}).status_code == 403
