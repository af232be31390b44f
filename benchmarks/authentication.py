"""What knowing the caller adds to a request: ``python -m benchmarks.authentication [--requests N] [--database URL]``.

Each request is authenticated by the gateway's own code on a database of its own: signature, login, user and roles of an
access token; hash, expiry and creator of an API key, and the note of its last use. It is also counted, as rates are.
Rows are read anew every few seconds as in service, so the slowest requests are those that read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from flask import Flask, request

from gateway.access import Role
from gateway.accounts.authenticator import AccountAuthenticator
from gateway.accounts.database import AccountsDatabase, open_accounts
from gateway.accounts.fresh import FRESH_SECONDS
from gateway.accounts.keyring import Keyring
from gateway.accounts.keys import NewKey, add_key
from gateway.accounts.logins import start_login
from gateway.accounts.people import People
from gateway.accounts.tokens import Tokens
from gateway.accounts.users import add_organisation, add_user
from gateway.guard import Authenticator
from gateway.limits.rates import CountingAuthenticator, RequestRates
from gateway.same_site import SameSite
from runtime.clock import SystemClock

TARGET_MS = 1.0
#: A caller who sends a hundred requests a second reads anew once in so many.
_REQUESTS_A_READ = int(100 * FRESH_SECONDS)
#: Requests a minute, so that all of the bench are counted and none is too many.
_NO_END = 1_000_000_000
_DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Added:
    """Milliseconds that authentication adds to a request."""

    credentials: str
    requests: int
    median_ms: float
    p99_ms: float
    #: Of the processor alone: on a machine that does other work the clock also counts what that takes.
    p99_processor_ms: float
    #: Of requests that read the database, once in a few seconds a caller.
    reading_median_ms: float


class _Clock(SystemClock):
    """A clock that can be moved on, so that rows are out of date at once."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def measure(url: str, requests: int) -> list[Added]:
    """Return what a token and a key add, on the accounts database at ``url``."""
    clock = _Clock()
    database = open_accounts(url, clock)
    people, keyring = People(database), Keyring(database, token_seconds=900)
    tokens = Tokens(database, keyring, issuer="bench", lifetime_seconds=900)
    accounts = AccountAuthenticator(database, people, tokens, SameSite(hosts=(), origins=()))
    authenticator = CountingAuthenticator(accounts, RequestRates(caller=_NO_END, address=_NO_END))
    found = [
        _added(name, credentials, authenticator, clock, requests)
        for name, credentials in _credentials(database, tokens).items()
    ]
    database.engine.dispose()
    return found


def _credentials(database: AccountsDatabase, tokens: Tokens) -> dict[str, str]:
    now = database.now_us()
    with database.change() as connection:
        email = f"bench-{now}@example.org"
        user_id = add_user(connection, email=email, name="", now_us=now, actor="bench")
        organisation_id = add_organisation(connection, "bench", now, admin=user_id, actor="bench")
        login_id = start_login(connection, user_id, "token", now_us=now, expires_us=now + _DAY_US)
        new = NewKey(name="bench", organisation_id=organisation_id, created_by=user_id, role=Role.EDITOR)
        _, key = add_key(connection, new, now)
    return {"access token": tokens.issue(user_id, login_id), "API key": key}


def _added(name: str, credentials: str, authenticator: Authenticator, clock: _Clock, requests: int) -> Added:
    app, times, processor, reading = Flask("bench"), [], [], []
    headers = {"Authorization": f"Bearer {credentials}"}
    with app.test_request_context("/", headers=headers):
        for number in range(requests + 1):
            is_reading = number % _REQUESTS_A_READ == 0
            clock.ahead += FRESH_SECONDS if is_reading else 0.0
            started, started_processor = time.perf_counter(), time.thread_time()
            principal = authenticator.authenticate(request)
            took = (time.perf_counter() - started) * 1000
            took_processor = (time.thread_time() - started_processor) * 1000
            if principal.is_anonymous:
                raise RuntimeError("the credentials of the bench must be good")
            if number > 0:
                times.append(took)
                processor.append(took_processor)
                if is_reading:
                    reading.append(took)
    return Added(
        name,
        requests,
        statistics.median(times),
        _p99(times),
        _p99(processor),
        statistics.median(reading),
    )


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]


def main() -> int:
    """Print the figures; return 1 where one is above the target."""
    parser = argparse.ArgumentParser(description="What authentication adds to a request")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument(
        "--database", default="", help="URL of an accounts database; empty: SQLite in a temporary folder"
    )
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(asked.database or f"sqlite:///{Path(folder) / 'accounts.db'}", asked.requests)
    if asked.json:
        sys.stdout.write(json.dumps([asdict(added) for added in found]) + "\n")
    else:
        for added in found:
            sys.stdout.write(
                f"{added.credentials}: median {added.median_ms:.3f} ms, p99 {added.p99_ms:.3f} ms "
                f"({added.p99_processor_ms:.3f} ms of a processor), when rows are read anew "
                f"{added.reading_median_ms:.3f} ms; at most {TARGET_MS} ms is the target\n"
            )
    return 1 if any(max(added.median_ms, added.p99_ms) > TARGET_MS for added in found) else 0


if __name__ == "__main__":
    sys.exit(main())
