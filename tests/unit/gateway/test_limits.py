"""How much may be asked for: a minute, a day, at once; and what is told of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from limits.storage import memory
from sqlalchemy import Connection, select
from werkzeug.test import TestResponse

from gateway.access import LOCAL, Principal
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.tables import USED
from gateway.limits.in_flight import InFlight
from gateway.limits.quotas import FORECAST, TRAINING, Usage
from gateway.problems import Problem
from gateway.store import StoreUnavailable
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.unit.gateway.tenants import Tenants, tenants
from tests.unit.gateway.test_repeats import MovedClock, require_problem
from tests.unit.gateway.world import Responder, World, running

LIST = "/api/v1/projects"
_POLICY = re.compile(r'"[a-z-]+";q=[0-9]+;w=[0-9]+(, "[a-z-]+";q=[0-9]+;w=[0-9]+)*')
_LEFT = re.compile(r'"[a-z-]+";r=[0-9]+;t=[0-9]+(, "[a-z-]+";r=[0-9]+;t=[0-9]+)*')


@pytest.fixture(autouse=True)
def _middle_of_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are counted by the minutes of the wall clock: where one ends within a test, more of them are let in."""
    now = time.time() // 60 * 60 + 30
    monkeypatch.setattr(memory, "time", SimpleNamespace(time=lambda: now))


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """Tenants who may do little."""
    with tenants(
        tmp_path_factory.mktemp("limited"),
        requests_a_minute=5,
        anonymous_requests_a_minute=4,
        forecasts_a_day=3,
        trainings_a_day=1,
    ) as found:
        yield found


def get(people: Tenants, headers: dict[str, str], path: str = LIST, address: str = "192.0.2.1") -> TestResponse:
    return people.world.client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})


def standing(answer: TestResponse, name: str) -> tuple[int, int]:
    """Return what an answer says is left of a policy, and for how long."""
    assert _POLICY.fullmatch(answer.headers["RateLimit-Policy"]), answer.headers["RateLimit-Policy"]
    assert _LEFT.fullmatch(answer.headers["RateLimit"]), answer.headers["RateLimit"]
    found = re.search(rf'"{name}";r=([0-9]+);t=([0-9]+)', answer.headers["RateLimit"])
    assert found, answer.headers["RateLimit"]
    return int(found[1]), int(found[2])


def test_requests_of_a_user_are_counted_and_limited(limited: Tenants) -> None:
    caller = limited.apples.viewer
    answers = [get(limited, caller.headers) for _ in range(5)]
    over = get(limited, caller.headers)

    assert {answer.status_code for answer in answers} == {200}
    assert [standing(answer, "requests")[0] for answer in answers] == [4, 3, 2, 1, 0]
    assert answers[0].headers["RateLimit-Policy"] == '"requests";q=5;w=60'
    # Red without `CountingAuthenticator` in `create_app`.
    require_problem(over, 429, "rate-limited")
    left, seconds = standing(over, "requests")
    assert left == 0
    assert 1 <= seconds <= 60
    assert over.headers["Retry-After"] == str(seconds)
    assert over.json["violated-policies"] == ["requests"]
    # Others are not concerned, nor is the same person's key.
    assert get(limited, limited.apples.editor.headers).status_code == 200
    assert get(limited, caller.key_headers).status_code == 200


@pytest.mark.parametrize(("given", "expected"), [(1, 1), (1_000_000, 5)])
def test_a_key_can_be_given_less_and_not_more(limited: Tenants, given: int, expected: int) -> None:
    body = {"name": "slow", "requests_a_minute": given}
    made = limited.world.client.post("/api/v1/keys", json=body, headers=limited.pears.admin.headers)
    assert made.json["requests_a_minute"] == given

    answers = [get(limited, {"Authorization": f"Bearer {made.json['key']}"}) for _ in range(expected + 1)]

    assert answers[0].headers["RateLimit-Policy"] == f'"requests";q={expected};w=60'
    assert [answer.status_code for answer in answers] == [200] * expected + [429]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer ftp_guess"}, {"Authorization": "Basic x"}])
def test_who_does_not_sign_in_is_counted_by_address(limited: Tenants, headers: dict[str, str]) -> None:
    address = f"198.51.100.{len(str(headers))}"
    answers = [get(limited, headers, address=address) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [401] * 4 + [429]
    assert get(limited, headers, address="203.0.113.9").status_code == 401


def test_an_address_that_a_caller_makes_up_is_not_believed(limited: Tenants) -> None:
    answers = [get(limited, {"X-Forwarded-For": f"192.0.2.{number}"}, address="203.0.113.50") for number in range(5)]

    assert [answer.status_code for answer in answers] == [401] * 4 + [429]


def test_the_address_that_a_proxy_adds_is_believed(tmp_path: Path) -> None:
    with running(tmp_path, accounts="required", anonymous_requests_a_minute=1, trusted_proxies=1) as world:
        # What the caller sent itself stands before what the proxy adds.
        sent = [{"X-Forwarded-For": f"192.0.2.{number}, 198.51.100.1"} for number in range(2)]
        statuses = [world.client.get(LIST, headers=one).status_code for one in sent]
        other = world.client.get(LIST, headers={"X-Forwarded-For": "198.51.100.2"}).status_code

    assert (statuses, other) == ([401, 429], 401)


def test_neighbours_in_an_ipv6_network_are_one(limited: Tenants) -> None:
    answers = [get(limited, {}, address=f"2001:db8::{number}") for number in range(5)]

    assert answers[-1].status_code == 429
    assert get(limited, {}, address="2001:db8:0:1::1").status_code == 401


def test_health_is_always_told(limited: Tenants) -> None:
    answers = [get(limited, {}, "/health", "203.0.113.77") for _ in range(10)]

    assert {answer.status_code for answer in answers} == {200}


def test_nobody_is_counted_on_a_machine_of_ones_own(shared_world: World) -> None:
    answer = shared_world.client.get(LIST)

    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers


# --- quotas ---


def fill_project(people: Tenants, project_id: str) -> str:
    """Give a project a series and a model; return the id of the series."""
    world = people.world
    series_id, model = f"{project_id}/apples@1d", f"{project_id}/apples-1d"
    world.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id))
    world.publish(MODELS, factories.model_release(model=model))
    world.publish(DEPLOYMENTS, factories.deployment(model=model))
    world.settle()
    return series_id


def forecast(people: Tenants, headers: dict[str, str], series_id: str, key: str | None = None) -> TestResponse:
    sent = headers | ({"Idempotency-Key": key} if key else {})
    return people.world.client.post("/api/v1/forecasts", json={"series_id": series_id, "horizon": 3}, headers=sent)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """Tenants whose projects may use little."""
    folder = tmp_path_factory.mktemp("counted")
    with tenants(folder, forecasts_a_day=3, trainings_a_day=1) as found, Responder(found.world.broker):
        found.world.settle()
        yield found


def test_forecasts_of_a_project_are_counted_over_all_its_callers(counted: Tenants) -> None:
    people, tenant = counted, counted.apples
    series_id = fill_project(people, tenant.project_id)
    first = forecast(people, tenant.editor.headers, series_id, "kept")
    assert standing(first, "forecasts")[0] == 2
    forecast(people, tenant.admin.headers, series_id)
    forecast(people, tenant.editor.key_headers, series_id)

    over = forecast(people, tenant.editor.headers, series_id)

    # Red without `_charge` in `ForecastDesk.ask`.
    require_problem(over, 429, "quota-exceeded")
    assert over.json["violated-policies"] == ["forecasts"]
    assert 1 <= int(over.headers["Retry-After"]) <= 86_400
    # What was done is told again, and nothing is counted for it.
    again = forecast(people, tenant.editor.headers, series_id, "kept")
    assert (again.status_code, again.data) == (200, first.data)
    shown = people.world.client.get(f"{LIST}/{tenant.project_id}/quotas", headers=tenant.viewer.headers).json
    assert shown["used_today"] == {"forecasts": 3, "trainings": 0, "rows": 0}
    assert shown["in_force"]["forecasts_a_day"] == 3

    batch = {"forecasts": [{"series_id": series_id}], "horizon": 2}
    refused = people.world.client.post("/api/v1/forecasts:batch", json=batch, headers=tenant.editor.headers)
    require_problem(refused, 429, "quota-exceeded")

    raise_quota(people, tenant.project_id, {"forecasts_a_day": 5})
    batch = {"forecasts": [{"series_id": series_id}] * 3, "horizon": 2}
    refused = people.world.client.post("/api/v1/forecasts:batch", json=batch, headers=tenant.editor.headers)
    require_problem(refused, 429, "quota-exceeded")  # a batch is let in whole or not at all
    batch = {"forecasts": [{"series_id": series_id}] * 2, "horizon": 2}
    taken = people.world.client.post("/api/v1/forecasts:batch", json=batch, headers=tenant.editor.headers)
    assert (taken.status_code, taken.json["counts"]["issued"]) == (200, 2)


def raise_quota(people: Tenants, project_id: str, quotas: dict[str, int | None]) -> None:
    answer = people.world.client.patch(f"{LIST}/{project_id}/quotas", json=quotas, headers=people.operator.headers)
    assert answer.status_code == 200, answer.text


def test_only_operators_change_quotas(counted: Tenants) -> None:
    path = f"{LIST}/{counted.pears.project_id}/quotas"
    client = counted.world.client

    own = client.patch(path, json={"forecasts_a_day": 0}, headers=counted.pears.admin.headers)
    foreign = client.get(path, headers=counted.apples.admin.headers)
    missing = client.get(f"{LIST}/none/quotas", headers=counted.apples.admin.headers)
    bad = client.patch(path, json={"forecasts_a_day": -1}, headers=counted.operator.headers)

    require_problem(own, 403, "forbidden")
    require_problem(foreign, 404, "unknown-project")
    require_problem(missing, 404, "unknown-project")
    require_problem(bad, 422, "invalid-body")
    raise_quota(counted, counted.pears.project_id, {"requests_a_minute": 2})
    seen = client.get(path, headers=counted.pears.viewer.headers)
    audited = client.get("/api/v1/audit?limit=1", headers=counted.operator.headers).json["audit"][0]
    assert (audited["action"], audited["details"]) == ("project.quotas", {"requests_a_minute": 2})
    assert {name: limit for name, limit in seen.json["quotas"].items() if limit} == {"requests_a_minute": 2}


def test_requests_that_touch_a_project_can_be_limited(counted: Tenants) -> None:
    path = f"{LIST}/{counted.pears.project_id}"
    raise_quota(counted, counted.pears.project_id, {"requests_a_minute": 1})
    callers = [counted.pears.viewer.headers, counted.pears.admin.key_headers]

    answers = [counted.world.client.get(path, headers=callers[number % 2]) for number in range(4)]

    # Red without `count_request` in `tenancy.require`.
    assert [answer.status_code for answer in answers] == [200, 429, 429, 429]
    require_problem(answers[-1], 429, "rate-limited")
    assert answers[-1].json["violated-policies"] == ["project-requests"]
    # Red where `count_request` counts operators: nobody could give a project more while its callers ask too often.
    raise_quota(counted, counted.pears.project_id, {"requests_a_minute": None})


def test_trainings_are_counted_once_each(counted: Tenants) -> None:
    tenant = counted.pears
    series_id = fill_project(counted, tenant.project_id)
    body = {"series_id": series_id, "algorithm": "seasonal_naive", "horizon": 2, "window_size": 5}

    def train(key: str) -> TestResponse:
        headers = {**tenant.editor.headers, "Idempotency-Key": key}
        return counted.world.client.post("/api/v1/trainings", json=body, headers=headers)

    first, repeat, over = train("one"), train("one"), train("two")

    assert (first.status_code, repeat.status_code) == (202, 202), first.text
    # Red without `charge()` in `send_once`.
    require_problem(over, 429, "quota-exceeded")
    assert counted.world.service.usage.used(Principal(), tenant.project_id, TRAINING) == 1


def test_one_tenant_does_not_use_up_the_public_series_of_others(counted: Tenants) -> None:
    series_id = fill_project(counted, "market")
    apples = [forecast(counted, counted.apples.editor.headers, series_id).status_code for _ in range(4)]

    pears = forecast(counted, counted.pears.editor.headers, series_id)

    assert apples == [200, 200, 200, 429]
    # Red when the scopes of a `Use` have no organisation for public projects.
    assert pears.status_code == 200


def usage(world: World, database: AccountsDatabase | None = None, **limits: int) -> Usage:
    given = {"forecasts_a_day": 10, "trainings_a_day": 10, "rows_a_day": 10} | limits
    return Usage(database or world.accounts, lambda name: given.get(name, 0), world.service.projects.organisation_of)


@pytest.fixture
def in_request(counted: Tenants) -> Iterator[None]:
    """What is used is told in the answer to a request."""
    with counted.world.app.test_request_context():
        yield


PERSON = Principal(name="user/user_1", organisation_id="org_1")


@pytest.mark.usefixtures("in_request")
def test_gateways_see_what_the_others_counted(counted: Tenants) -> None:
    first, second = usage(counted.world), usage(counted.world)
    first.take(PERSON, FORECAST, {"shared": 6})
    second.take(PERSON, FORECAST, {"shared": 2})
    assert second.used(PERSON, "shared", FORECAST) == 2

    first.flush()
    second.flush()

    assert second.used(PERSON, "shared", FORECAST) == 8
    with pytest.raises(Problem, match="10 forecasts a day"):
        second.take(PERSON, FORECAST, {"shared": 3})
    second.take(PERSON, FORECAST, {"shared": 2})


class Interrupted(AccountsDatabase):
    """The database of a gateway in which something else happens, once, around a read or a write."""

    def __init__(self, world: World) -> None:
        super().__init__(world.accounts.engine, world.accounts.clock)
        self.after_read: list[Callable[[], object]] = []
        self.before_write: list[Callable[[], object]] = []
        self.after_write: list[Callable[[], object]] = []

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with super().read() as connection:
            yield connection
        while self.after_read:
            self.after_read.pop()()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        while self.before_write:
            self.before_write.pop()()
        with super().write() as connection:
            yield connection
        while self.after_write:
            self.after_write.pop()()


@pytest.mark.usefixtures("in_request")
def test_what_is_used_while_counts_are_written_stays_counted(counted: Tenants) -> None:
    """Red when `Usage.flush` forgets all that waits, and not only what it wrote."""
    database = Interrupted(counted.world)
    usages = usage(counted.world, database)
    usages.take(PERSON, FORECAST, {"meanwhile": 1})
    database.after_write.append(lambda: usages.take(PERSON, FORECAST, {"meanwhile": 4}))

    usages.flush()

    assert usages.used(PERSON, "meanwhile", FORECAST) == 5
    usages.flush()
    assert usage(counted.world).used(PERSON, "meanwhile", FORECAST) == 5


@pytest.mark.usefixtures("in_request")
def test_what_is_written_while_counts_are_read_stays_counted(counted: Tenants) -> None:
    """Red without `_flushing` in `Usage._load`: what it read before the write would stand for what is after it."""
    database = Interrupted(counted.world)
    usages = usage(counted.world, database, forecasts_a_day=0)
    usages.take(PERSON, FORECAST, {"raced": 3})
    with ThreadPoolExecutor(1) as pool:
        database.after_read.append(lambda: wait([pool.submit(usages.flush)], 0.2))
        usages.used(PERSON, "raced", FORECAST)

    assert usages.used(PERSON, "raced", FORECAST) == 3


@pytest.mark.usefixtures("in_request")
def test_what_the_database_does_not_take_is_written_later(counted: Tenants) -> None:
    """Red when `_try_flush` lets the fault through: the thread that writes would end with it."""
    database = Interrupted(counted.world)
    usages = usage(counted.world, database)
    usages.take(PERSON, FORECAST, {"later": 2})
    database.before_write.append(partial(raise_, StoreUnavailable("away")))

    usages.stop(0.0)

    assert usage(counted.world).used(PERSON, "later", FORECAST) == 0
    usages.stop(0.0)
    assert usage(counted.world).used(PERSON, "later", FORECAST) == 2


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.usefixtures("in_request")
def test_what_one_tenant_wrote_of_public_series_is_not_another_s(counted: Tenants) -> None:
    """Red when the scopes of a `Use` have no organisation for public projects."""
    usages = usage(counted.world)
    usages.take(PERSON, FORECAST, {"market": 6})
    usages.flush()

    other = Principal(name="user/user_2", organisation_id="org_2")
    assert usage(counted.world).used(PERSON, "market", FORECAST) == 6
    assert usage(counted.world).used(other, "market", FORECAST) == 0


@pytest.mark.usefixtures("in_request")
def test_a_restart_keeps_what_was_used(counted: Tenants) -> None:
    before = usage(counted.world)
    before.start()
    before.take(PERSON, FORECAST, {"restarted": 7})

    before.stop(5.0)

    after = usage(counted.world)
    assert after.used(PERSON, "restarted", FORECAST) == 7
    with counted.world.accounts.read() as connection:
        rows = connection.execute(select(USED.c.requester, USED.c.count).where(USED.c.project_id == "restarted")).all()
    assert [tuple(row) for row in rows] == [("org_1/user/user_1", 7)]


@pytest.mark.usefixtures("in_request")
def test_a_new_day_begins_with_nothing_used(counted: Tenants) -> None:
    clock = MovedClock()
    usages = usage(counted.world, AccountsDatabase(counted.world.accounts.engine, clock), forecasts_a_day=2)
    usages.take(PERSON, FORECAST, {"daily": 2})

    clock.added += timedelta(days=1)

    usages.take(PERSON, FORECAST, {"daily": 2})
    usages.flush()
    with counted.world.accounts.read() as connection:
        rows = connection.execute(
            select(USED.c.day, USED.c.count).where(USED.c.project_id == "daily").order_by(USED.c.day)
        ).all()
    assert [(day - rows[0][0], count) for day, count in rows] == [(0, 2), (1, 2)]


@pytest.mark.usefixtures("in_request")
def test_all_projects_of_a_request_are_counted_or_none(counted: Tenants) -> None:
    usages = usage(counted.world)

    with pytest.raises(Problem):
        usages.take(PERSON, FORECAST, {"little": 1, "much": 11})

    assert usages.used(PERSON, "little", FORECAST) == 0


# --- at once ---


def test_requests_at_once_are_limited_in_all_and_of_each_caller() -> None:
    limits = InFlight(most=5, most_a_caller=2)
    for _ in range(4):
        limits.enter()
    for _ in range(2):
        inside = limits.enter_as(PERSON, "")
    limits.enter()
    with pytest.raises(Problem) as of_caller:
        limits.enter_as(PERSON, "")
    with pytest.raises(Problem) as of_all:
        limits.enter()

    assert (of_caller.value.status, of_caller.value.code) == (429, "too-many-at-once")
    assert (of_all.value.status, of_all.value.code) == (503, "busy")
    limits.leave(())
    limits.enter()
    limits.leave(inside)
    limits.leave(limits.enter_as(PERSON, ""))
    limits.leave(inside)
    assert not limits._of_caller  # nobody who was here once stays in memory


def test_who_does_not_sign_in_has_the_places_of_one_network() -> None:
    """Red when `InFlight.enter_as` does not ask whether somebody is anonymous, or counts single addresses."""
    limits = InFlight(most=9, most_a_caller=1)
    limits.enter_as(Principal(), "2001:db8::1")

    with pytest.raises(Problem, match="at most 1 requests of one caller"):
        limits.enter_as(Principal(), "2001:db8::2")

    limits.enter_as(Principal(), "2001:db8:0:1::1")
    # Who runs a machine of their own is not counted.
    assert limits.enter_as(LOCAL, "127.0.0.1") == limits.enter_as(LOCAL, "127.0.0.1") == ()


def test_one_organisation_has_at_most_half_of_the_requests_at_once() -> None:
    """Red without the line of the organisation in `InFlight.enter_as`: each of its keys is a caller."""
    limits = InFlight(most=4, most_a_caller=4)
    keys = [Principal(name=f"key/{number}", organisation_id="org_1") for number in range(3)]
    for key in keys[:2]:
        limits.enter_as(key, "")

    with pytest.raises(Problem, match="at most 2 requests of one organisation"):
        limits.enter_as(keys[2], "")

    limits.enter_as(Principal(name="key/other", organisation_id="org_2"), "")


def test_one_organisation_has_at_most_half_of_those_who_wait(counted: Tenants) -> None:
    """Red without `_of_organisation` in `Door.admits`."""
    door, half = counted.world.service.door, counted.world.settings.max_waiting_requests // 2
    with door.admits(half - 1, "org_1"), door.admits(1, "org_1"):
        with pytest.raises(Problem, match="of one organisation"), door.admits(1, "org_1"):
            pass
        with door.admits(1, "org_2"):
            pass
    # What takes more than its part waits for an empty room, as what takes more than all places does.
    with door.admits(half + 1, "org_1"):
        pass


def test_every_request_that_comes_in_goes_out(shared_world: World) -> None:
    in_flight = shared_world.service.in_flight
    for path in (LIST, "/none", "/health", "/api/v1/forecasts/none", "/docs"):
        shared_world.client.get(path)
    shared_world.client.post("/api/v1/forecasts", data=b"{", content_type="application/json")
    shared_world.client.post("/api/v1/forecasts", data=b"x" * 2_000_000, content_type="application/json")

    # Red without `teardown` in `limits.hooks`.
    assert in_flight._inside == 0
    assert not in_flight._of_caller


def test_a_caller_with_too_many_requests_is_told_before_any_work(counted: Tenants) -> None:
    in_flight, caller = counted.world.service.in_flight, counted.apples.viewer
    name = f"user/{caller.user_id}"
    in_flight._of_caller[name] = counted.world.settings.max_requests_per_caller
    try:
        refused = counted.world.client.get(LIST, headers=caller.headers)
        health = counted.world.client.get("/health")
    finally:
        del in_flight._of_caller[name]
    in_flight._inside = in_flight._most
    try:
        full = counted.world.client.get(LIST, headers=caller.headers)
        alive = counted.world.client.get("/health")
    finally:
        in_flight._inside = 0

    # Red without `install_after_guard` in `create_app`.
    require_problem(refused, 429, "too-many-at-once")
    # Red without `FREE` in `limits.hooks`: a busy gateway would be taken for a dead one.
    require_problem(full, 503, "busy")
    assert (health.status_code, alive.status_code) == (200, 200)
    assert in_flight._inside == 0


def test_a_body_that_says_that_it_is_too_large_is_not_read(counted: Tenants) -> None:
    class Untouched(BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise AssertionError("the body was read")

    said = {"CONTENT_LENGTH": "100000000"}
    answer = counted.world.client.post(
        "/api/v1/forecasts", input_stream=Untouched(), content_type="application/json", environ_overrides=said
    )

    # Before anybody asks who sends it: red without `require_small`, which makes this a 401.
    require_problem(answer, 413, "body-too-large")
    assert answer.headers["Connection"] == "close"
