"""Two gateways on a real Kafka with a projection each and one accounts database: started at once, and one to callers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from gateway.store import open_engine
from tests.integration.gateway_process import Answer, GatewayProcess
from tests.integration.test_gateway_kafka import log_with_a_champion
from tests.postgres import Databases
from tests.unit.gateway.world import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.timeout(600)]

EMAIL = "first@example.org"
PASSWORD = "orchards in the rain"
#: More than the connections that a gateway has to a database.
WAITING = 20


@dataclass
class Pair:
    """Two gateways and whoever is signed in at both."""

    gateways: tuple[GatewayProcess, GatewayProcess]
    accounts: Engine
    token: str = ""

    def call(self, at: int, method: str, path: str, body: Any = None, *, key: str = "") -> Answer:
        return self.gateways[at].call(method, path, body, {"Authorization": f"Bearer {key or self.token}"})

    def new_key(self) -> dict[str, Any]:
        organisation_id = self.call(0, "GET", "/api/v1/me").json["organisations"][0]["organisation_id"]
        answer = self.call(0, "POST", "/api/v1/keys", {"name": "k", "organisation_id": organisation_id})
        assert answer.status == 201, answer.content
        made: dict[str, Any] = answer.json
        return made


@pytest.fixture(scope="module")
def pair(kafka: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    accounts_url = databases.empty()
    with log_with_a_champion(kafka, f"t{uuid4().hex[:12]}-") as log:
        gateways = [
            GatewayProcess(
                log.servers,
                log.prefix,
                tmp_path_factory.mktemp(f"gateway-{number}"),
                accounts="required",
                database_url=databases.empty(),
                accounts_database_url=accounts_url,
                first_operator_email=EMAIL,
                password_memory_kibibytes="64",
                password_rounds="1",
                anonymous_requests_a_minute="0",
            )
            for number in range(2)
        ]
        engine = open_engine(accounts_url)
        starts = [threading.Thread(target=gateway.start) for gateway in gateways]
        try:
            for start in starts:
                start.start()
            for start in starts:
                start.join()
            pair = Pair((gateways[0], gateways[1]), engine)
            pair.token = sign_in(pair)
            yield pair
        finally:
            engine.dispose()
            for gateway in gateways:
                gateway.close()


def sign_in(pair: Pair) -> str:
    """Change the one-time password at one gateway, sign in at the other; return the token."""
    shown = [password for each in pair.gateways for password in re.findall(r"password  (\S+)", each.log())]
    # Both started on an empty database: one of them made the first operator.
    assert len(shown) == 1, shown
    first = log_in(pair.gateways[0], shown[0])
    changed = pair.gateways[0].call(
        "POST",
        "/api/v1/auth/password",
        {"password": shown[0], "new_password": PASSWORD},
        {"Authorization": f"Bearer {first}"},
    )
    assert changed.status == 204, changed.content
    return log_in(pair.gateways[1], PASSWORD)


def log_in(gateway: GatewayProcess, password: str) -> str:
    answer = gateway.call("POST", "/api/v1/auth/login", {"email": EMAIL, "password": password})
    assert answer.status == 200, answer.content
    return str(answer.json["access_token"])


def test_both_start_at_once_on_a_new_database(pair: Pair) -> None:
    """Red without the lock in `gateway.migrations.upgrade`: one of them ends with a table that is there already."""
    with pair.accounts.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM users")) == 1
        assert connection.scalar(text("SELECT count(*) FROM accounts_version")) == 1


def test_who_signs_in_at_one_is_known_at_the_other(pair: Pair) -> None:
    answers = [pair.call(at, "GET", "/api/v1/me") for at in (0, 1)]

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json["email"] == answers[1].json["email"] == EMAIL


def test_a_key_that_is_revoked_at_one_soon_stops_at_the_other(pair: Pair) -> None:
    made = pair.new_key()
    assert [pair.call(at, "GET", "/api/v1/me", key=made["key"]).status for at in (0, 1)] == [200, 200]

    assert pair.call(0, "DELETE", f"/api/v1/keys/{made['key_id']}").status == 204
    assert pair.call(0, "GET", "/api/v1/me", key=made["key"]).status == 401
    wait_until(lambda: pair.call(1, "GET", "/api/v1/me", key=made["key"]).status == 401, "the end of the key")


def test_what_waits_for_the_database_stops_nobody_else(pair: Pair) -> None:
    """Red with PSYCOPG_WAIT_FUNC=wait_c in the environment of the gateway: the whole process then waits with it."""
    path = "/api/v1/audit"
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(pair.call(0, "GET", path).status)) for _ in range(WAITING)
    ]
    waiting = text(
        "SELECT count(*) >= 10 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%audit%'"
    )
    with pair.accounts.connect() as holder, pair.accounts.connect() as watcher:
        holder.execute(text("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE"))
        for thread in threads:
            thread.start()

        def is_waiting() -> bool:
            found = watcher.scalar(waiting)
            watcher.rollback()
            return bool(found)

        wait_until(is_waiting, "requests that wait for the table")
        # Not for long: after half a minute it is told to those who wait for a connection that there is none.
        for _ in range(3):
            assert pair.gateways[0].call("GET", "/health").status == 200
        assert answers == []
        holder.rollback()
        for thread in threads:
            thread.join(60)
    assert answers == [200] * WAITING
