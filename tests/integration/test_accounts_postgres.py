"""The accounts database on PostgreSQL: the same tables, the same answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text, update

from gateway.access import Role
from gateway.accounts.database import open_accounts
from gateway.accounts.tables import USERS
from gateway.migrations.upgrade import upgrade
from runtime.clock import SystemClock
from tests.integration.gateway_process import postgres_server
from tests.unit.gateway import test_accounts as on_sqlite
from tests.unit.gateway.tenants import Tenants, add_user, tenants
from tests.unit.gateway.test_accounts_database import differences
from tests.unit.gateway.world import wait_until

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module")
def two(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("tenants"), accounts_database_url=url) as found:
        yield found


def test_the_migrations_make_the_tables_of_today(url: str) -> None:
    database = open_accounts(url, SystemClock())

    assert differences(database.engine) == []
    database.engine.dispose()


def test_the_projection_may_stand_in_the_same_database(url: str) -> None:
    engine = open_accounts(url, SystemClock()).engine
    upgrade(engine)
    with engine.connect() as connection:
        versions = connection.exec_driver_sql("SELECT version_num FROM accounts_version").all()
    assert len(versions) == 1
    assert differences(engine) == []
    engine.dispose()


@pytest.mark.parametrize(
    "name",
    [
        "test_a_password_gives_tokens_that_can_be_refreshed",
        "test_a_refresh_token_that_comes_again_ends_the_whole_login",
        "test_signing_out_ends_access_and_refresh_tokens_at_once",
        "test_an_outdated_hash_is_replaced_at_sign_in",
        "test_an_invitation_makes_a_user_and_a_member_once",
        "test_an_invitation_is_for_one_address",
        "test_another_password_ends_the_other_logins",
        "test_a_one_time_password_is_good_for_changing_it_only",
        "test_the_last_admin_can_neither_be_removed_nor_made_less",
        "test_a_role_that_is_lowered_lowers_the_keys_too",
        "test_a_key_is_shown_once_used_and_revoked",
        "test_an_operator_disables_a_user_everywhere_at_once",
        "test_the_last_operator_stays",
        "test_users_and_audit_come_in_pages",
        "test_every_change_of_accounts_is_audited",
        "test_keys_run_out",
    ],
)
def test_as_on_sqlite(two: Tenants, name: str) -> None:
    getattr(on_sqlite, name)(two)


def test_an_address_is_taken_once(two: Tenants) -> None:
    body = {"email": "once@example.org", "organisation_id": two.apples.organisation_id, "role": Role.VIEWER}
    statuses = [
        two.world.client.post("/api/v1/users", headers=two.operator.headers, json=body).status_code for _ in range(2)
    ]
    assert statuses == [201, 409]


def test_two_operators_cannot_remove_each_other_at_once(two: Tenants) -> None:
    """Red without the update in `accounts.users._operators`: each would count the other one."""
    other = add_user(two.world, "second@example.org", is_operator=True)
    statuses: list[int] = []

    def demote() -> None:
        path = f"/api/v1/users/{two.operator.user_id}"
        answer = two.world.app.test_client().patch(path, json={"is_operator": False}, headers=other.headers)
        statuses.append(answer.status_code)

    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    request = threading.Thread(target=demote)
    with two.world.accounts.engine.begin() as connection:
        # As the first operator would, who is half-way through.
        is_other = USERS.c.user_id == other.user_id
        connection.execute(update(USERS).where(is_other).values(is_operator=False))
        request.start()
        with two.world.accounts.read() as looking:
            wait_until(lambda: statuses or looking.scalar(waiting), "the second operator")
    request.join(60)

    assert statuses == [409]
