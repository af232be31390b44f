"""API keys: whose they are for ever, and what is noted of their use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import insert, select, update

from gateway.access import Role
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.keys import PREFIX, LastUses
from gateway.accounts.tables import API_KEYS, MEMBERSHIPS
from tests.fakes import ManualClock
from tests.unit.gateway.tenants import Caller, Tenant, Tenants, add_api_key, add_tenant, tenants
from tests.unit.gateway.world import CountedAccounts

MINUTE = 60


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("tenants")) as found:
        yield found


def let_in(two: Tenants, tenant: Tenant, member: Caller) -> None:
    row = {"organisation_id": tenant.organisation_id, "user_id": member.user_id, "role": Role.EDITOR, "created_us": 1}
    with two.world.accounts.change() as connection:
        connection.execute(insert(MEMBERSHIPS), row)


def status(two: Tenants, key: str) -> int:
    return two.world.client.get("/api/v1/me", headers={"Authorization": f"Bearer {key}"}).status_code


def test_keys_of_a_member_who_was_removed_stay_dead_when_they_come_back(two: Tenants) -> None:
    """Red without `revoke_keys` in `remove_member`, or without one of its three conditions."""
    left, other = add_tenant(two.world, "figs"), add_tenant(two.world, "dates")
    editor = left.editor
    let_in(two, other, editor)
    _, elsewhere = add_api_key(two.world, other.organisation_id, editor, Role.EDITOR)
    revoked_id, _ = add_api_key(two.world, left.organisation_id, editor, Role.EDITOR)
    with two.world.accounts.change() as connection:
        connection.execute(update(API_KEYS).where(API_KEYS.c.key_id == revoked_id).values(revoked_us=5))
    path = f"/api/v1/organisations/{left.organisation_id}/members/{editor.user_id}"

    assert two.world.client.delete(path, headers=left.admin.headers).status_code == 204
    let_in(two, left, editor)

    assert status(two, editor.key) == 401
    assert (status(two, elsewhere), status(two, left.admin.key)) == (200, 200)
    with two.world.accounts.read() as connection:
        revoked_us = connection.scalar(select(API_KEYS.c.revoked_us).where(API_KEYS.c.key_id == revoked_id))
    assert revoked_us == 5  # when it was revoked is not told anew


@pytest.mark.parametrize("text", [f"{PREFIX}{'x' * 97}", f"{PREFIX}nothing", "ftp"])
def test_what_only_looks_like_a_key_is_refused(two: Tenants, text: str) -> None:
    assert status(two, text) == 401


@pytest.fixture
def counted(two: Tenants, clock: ManualClock) -> CountedAccounts:
    with two.world.accounts.change() as connection:
        connection.execute(update(API_KEYS).values(last_used_us=None))
    return CountedAccounts(two.world.accounts.engine, clock)


def last_used_us(database: AccountsDatabase, key_id: str) -> int | None:
    with database.read() as connection:
        found: int | None = connection.scalar(select(API_KEYS.c.last_used_us).where(API_KEYS.c.key_id == key_id))
    return found


def test_the_use_of_a_key_is_written_once_a_minute(two: Tenants, counted: CountedAccounts, clock: ManualClock) -> None:
    """Red without the `return` of `LastUses.note` (a write for every request), and where it is never noted again."""
    uses, key_id = LastUses(counted), two.apples.editor.key_id
    first = counted.now_us()
    for _ in range(MINUTE):
        uses.note(key_id)
        clock.advance(0.5)
    within = counted.writes, last_used_us(counted, key_id)

    clock.advance(MINUTE / 2)
    uses.note(key_id)

    assert within == (1, first)
    assert (counted.writes, last_used_us(counted, key_id)) == (2, first + MINUTE * 1_000_000)
    assert last_used_us(counted, two.pears.editor.key_id) is None


def test_the_newest_use_stays_though_another_gateway_writes_later(
    two: Tenants, counted: CountedAccounts, clock: ManualClock
) -> None:
    """Red without `is_old`: of two gateways with a key in use each would write it every minute."""
    here, there, key_id = LastUses(counted), LastUses(counted), two.apples.editor.key_id
    here.note(key_id)
    noted = last_used_us(counted, key_id)

    clock.advance(MINUTE / 2)
    there.note(key_id)

    assert last_used_us(counted, key_id) == noted
