"""Any order of requests, repeats, crashes and waits under any keys: what is asked for once is done once."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from gateway.accounts.tables import PROJECTS, STORED_ANSWERS
from gateway.openapi.operations import OPERATIONS
from gateway.repeats import LOGGED, REPEATABLE, wish, without_secrets
from gateway.stored_answers import KEEP_US, LONGEST_US, Answer, Claim, StoredAnswers
from runtime.clock import SystemClock
from tests import factories
from tests.unit.gateway.tenants import Tenants, tenants
from tests.unit.gateway.world import Responder, World, running, wait_until

PATH = "/api/v1/projects"
STEPS = 2000
_MEMORY = Path("/dev/shm")


class MovedClock(SystemClock):
    """The clock of the machine, and what was added to it."""

    def __init__(self) -> None:
        self.added = timedelta()

    def now(self) -> datetime:
        return super().now() + self.added


@contextmanager
def quick_world() -> Iterator[World]:
    """Yield a world whose databases wait for no disk, where there is a place for that."""
    folder = Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))
    try:
        with running(folder / "world") as world:
            yield world
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with quick_world() as started:
        started.accounts.clock = MovedClock()
        yield started


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("repeats")) as found:
        yield found


@dataclass
class Known:
    """What the test knows of a key."""

    body: int
    began_us: int
    claim: Claim | None = None
    answer: bytes | None = None


class Repeats(RuleBasedStateMachine):
    """Requests for a project, on this gateway and on another one that shares the database."""

    world: World
    steps = 0

    @initialize()
    def begin(self) -> None:
        self.run = uuid4().hex
        self.known: dict[int, Known] = {}
        self.made = 0
        self.elsewhere = StoredAnswers(self.world.accounts)
        self.client = self.world.app.test_client()

    @property
    def clock(self) -> MovedClock:
        clock = self.world.accounts.clock
        assert isinstance(clock, MovedClock)
        return clock

    def body(self, number: int) -> dict[str, Any]:
        return {"name": f"{self.run}-{number}"}

    def key(self, number: int) -> str:
        return f"{self.run}-{number}"

    def send(self, key: int, body: dict[str, Any]) -> TestResponse:
        return self.world.app.test_client().post(PATH, json=body, headers={"Idempotency-Key": self.key(key)})

    def of(self, key: int) -> Known | None:
        """Return what is known of a key that is not forgotten yet."""
        found = self.known.get(key)
        return None if found is None or self.world.accounts.now_us() - found.began_us >= KEEP_US else found

    @rule(key=st.integers(0, 5), body=st.integers(0, 1))
    def ask(self, key: int, body: int) -> None:
        before = self.of(key)
        now = self.world.accounts.now_us()
        answer = self.send(key, self.body(body))
        if before is None:
            assert answer.status_code == 201
            assert "Idempotent-Replayed" not in answer.headers
            self.made += 1
            self.known[key] = Known(body, now, answer=answer.data)
        else:
            self.require_repeat(answer, before, body)

    def require_repeat(self, answer: TestResponse, before: Known, body: int) -> None:
        if body != before.body:
            require_problem(answer, 422, "idempotency-key-reused")
        elif before.answer is not None:
            assert (answer.status_code, answer.data) == (201, before.answer)
            assert answer.headers["Idempotent-Replayed"] == "true"
        elif self.world.accounts.now_us() - before.began_us <= LONGEST_US:
            require_problem(answer, 409, "request-in-progress")
            assert answer.headers["Retry-After"] == "1"
        else:
            # Goes red when `_before` lets a request begin again whose outcome nobody knows.
            require_problem(answer, 409, "outcome-unknown")

    @rule(key=st.integers(0, 2))
    def ask_for_nonsense(self, key: int) -> None:
        before = self.of(key)
        answer = self.send(key, {"name": ""})
        # A request that is refused changes nothing, and its key is free: red without `drop` in `repeats.after`.
        require_problem(answer, 422, "invalid-body" if before is None else "idempotency-key-reused")

    @rule(key=st.integers(0, 5), body=st.integers(0, 1))
    def ask_at_once(self, key: int, body: int) -> None:
        before = self.of(key)
        now = self.world.accounts.now_us()
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda _: self.send(key, self.body(body)), range(3)))
        if before is not None:
            for answer in answers:
                self.require_repeat(answer, before, body)
            return
        first = [
            answer for answer in answers if "Idempotent-Replayed" not in answer.headers and answer.status_code == 201
        ]
        assert len(first) == 1  # red when `begin` looks before it inserts
        self.made += 1
        self.known[key] = Known(body, now, answer=first[0].data)
        for answer in answers:
            if answer.status_code == 201:
                assert answer.data == first[0].data
            else:
                require_problem(answer, 409, "request-in-progress")

    @rule(key=st.integers(0, 5), body=st.integers(0, 1))
    def begin_elsewhere(self, key: int, body: int) -> None:
        if self.of(key) is not None:
            return
        with self.world.app.test_request_context(PATH, method="POST", json=self.body(body)):
            asked = wish()
        claim = self.elsewhere.begin("local", self.key(key), asked)
        assert isinstance(claim, Claim)
        self.known[key] = Known(body, claim.created_us, claim=claim)

    @rule(key=st.integers(0, 2), is_refused=st.booleans())
    def end_elsewhere(self, key: int, is_refused: bool) -> None:
        found = self.known.get(key)
        if found is None or found.claim is None or found.answer is not None:
            return
        if is_refused:
            self.elsewhere.drop(found.claim)
            del self.known[key]
        else:
            found.answer = b'{"project_id":"made elsewhere"}'
            self.elsewhere.end(found.claim, Answer(201, {"Content-Type": "application/json"}, found.answer))

    @rule(waited=st.sampled_from((timedelta(minutes=1), timedelta(minutes=11), timedelta(hours=25))))
    def wait(self, waited: timedelta) -> None:
        self.clock.added += waited

    @invariant()
    def what_was_asked_for_was_done_once(self) -> None:
        type(self).steps += 1
        if not hasattr(self, "run"):
            return
        query = select(func.count()).where(PROJECTS.c.name.startswith(self.run))
        with self.world.accounts.read() as connection:
            assert connection.scalar(query) == self.made


def require_problem(answer: TestResponse, status: int, code: str) -> None:
    assert (answer.status_code, answer.json["type"]) == (status, f"/problems/{code}"), answer.text


def ask_in_any_order(world: World, *, examples: int) -> int:
    """Run the machine on a world with a `MovedClock`; return how many steps it took."""
    machine = type("Repeats", (Repeats,), {"world": world, "steps": 0})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    return int(machine.steps)  # type: ignore[attr-defined]


def test_what_is_asked_for_once_is_done_once(world: World) -> None:
    assert ask_in_any_order(world, examples=60) >= STEPS


def test_nothing_is_done_again_whose_outcome_nobody_knows(world: World) -> None:
    """A gateway that dies between work and stored answer leaves a key without one."""
    clock, body, headers = world.accounts.clock, {"name": "crashed"}, {"Idempotency-Key": uuid4().hex}
    assert isinstance(clock, MovedClock)
    with world.app.test_request_context(PATH, method="POST", json=body):
        StoredAnswers(world.accounts).begin("local", headers["Idempotency-Key"], wish())
    at_once = world.client.post(PATH, json=body, headers=headers)
    clock.added += timedelta(minutes=11)
    later = world.client.post(PATH, json=body, headers=headers)
    clock.added += timedelta(days=1)
    next_day = world.client.post(PATH, json=body, headers=headers)

    require_problem(at_once, 409, "request-in-progress")
    # Red when `_before` takes what began long ago for something that goes on, or does it again.
    require_problem(later, 409, "outcome-unknown")
    assert next_day.status_code == 201


def test_a_file_is_told_from_another_one_by_its_length_and_its_digest(tmp_path: Path) -> None:
    """Red without the headers of `wish`: another file would be answered as the first one, and be lost."""
    with running(tmp_path, files_directory=tmp_path / "files") as world:

        def send(file: bytes, digest: str) -> tuple[int, str]:
            headers = {"Idempotency-Key": "once", "Content-Digest": f"sha-256=:{digest}=:"}
            path = "/api/v1/uploads?filename=sales.csv"
            answer = world.client.post(path, data=file, content_type="text/csv", headers=headers)
            told = answer.get_json()
            return answer.status_code, told.get("upload_id") or told["type"]

        first = send(b"date,sales\n2024-01-01,1\n2024-01-02,2\n", "one")

        assert first[0] == 201
        assert send(b"date,sales\n2024-01-01,1\n2024-01-02,2\n", "one") == first
        for file, digest in ((b"date,sales\n2024-01-01,1\n2024-01-02,22\n", "one"), (b"\n" * 37, "two")):
            assert send(file, digest) == (422, "/problems/idempotency-key-reused")


def test_a_key_is_of_one_method_path_and_query(world: World) -> None:
    """Red without one of the parts of `wish`: something else would be answered with what came of the first."""
    body, headers = {"name": "one wish"}, {"Idempotency-Key": "one-wish"}
    made = world.client.post(PATH, json=body, headers=headers)
    assert made.status_code == 201
    own = f"{PATH}/{made.get_json()['project_id']}"

    for path in (f"{PATH}?x=1", f"{own}/webhooks"):
        require_problem(world.client.post(path, json=body, headers=headers), 422, "idempotency-key-reused")
    renamed = {"Idempotency-Key": "renamed"}
    assert world.client.patch(own, json=body, headers=renamed).status_code == 200
    require_problem(world.client.delete(own, json=body, headers=renamed), 422, "idempotency-key-reused")


def test_a_key_is_of_one_caller(people: Tenants) -> None:
    headers = {"Idempotency-Key": "mine"}
    made = {
        caller.email: people.world.client.post(PATH, json={"name": "same"}, headers={**caller.headers, **headers})
        for caller in (people.apples.editor, people.apples.admin, people.pears.editor)
    }

    assert {answer.status_code for answer in made.values()} == {201}
    # Red when the owner of a key is less than organisation and user.
    assert len({answer.json["project_id"] for answer in made.values()}) == 3


def secrets_of(people: Tenants) -> Iterator[tuple[Callable[[], TestResponse], str]]:
    """Yield requests whose answers show a secret, and its name."""
    client, admin = people.world.client, people.apples.admin
    organisation = f"/api/v1/organisations/{people.apples.organisation_id}"
    for path, body, name, caller in (
        ("/api/v1/keys", {"name": "robot", "role": "editor"}, "key", admin),
        (f"{organisation}/invitations", {"email": "new@example.org", "role": "viewer"}, "token", admin),
        ("/api/v1/users", {"email": "made@example.org", "name": "Made"}, "password", people.operator),
    ):
        headers = {**caller.headers, "Idempotency-Key": f"once-{name}"}
        yield lambda path=path, body=body, headers=headers: client.post(path, json=body, headers=headers), name


def test_secrets_are_shown_once_and_not_kept(people: Tenants) -> None:
    for send, name in secrets_of(people):
        first, again = send(), send()

        assert first.status_code == again.status_code == 201, first.text
        assert again.headers["Idempotent-Replayed"] == "true"
        secret = first.json[name]
        assert len(secret) > 8
        # Red without `without_secrets` in `repeats._kept`.
        assert secret not in again.text
        told = {key: value for key, value in first.json.items() if again.json[key] == value}
        assert set(first.json) - set(told) <= {name, "link"}
        with people.world.accounts.read() as connection:
            kept = b"".join(connection.scalars(select(STORED_ANSWERS.c.body)))
        assert secret.encode() not in kept


def test_secrets_are_found_at_any_depth() -> None:
    kept = without_secrets(b'{"webhook":{"secret":"whsec_1","id":"w"},"keys":[{"key":"k","key_id":"i"}]}')

    assert kept == b'{"webhook":{"secret":"","id":"w"},"keys":[{"key":"","key_id":"i"}]}'


def test_a_viewer_who_sends_an_editors_key_is_refused(people: Tenants) -> None:
    sent = {"json": {"name": "role"}}
    key = {"Idempotency-Key": "role"}
    made = people.world.client.post(PATH, **sent, headers={**people.apples.editor.headers, **key})

    refused = people.world.client.post(PATH, **sent, headers={**people.apples.viewer.headers, **key})

    assert made.status_code == 201
    require_problem(refused, 403, "forbidden")


@pytest.mark.parametrize("key", ["", '""', "a b", "ä", "x" * 129, '"open'])
def test_a_bad_key_is_refused_on_every_unsafe_route(world: World, key: str) -> None:
    for method, path in (("POST", PATH), ("DELETE", f"{PATH}/none"), ("PATCH", f"{PATH}/none")):
        answer = world.client.open(path, method=method, json={"name": "x"}, headers={"Idempotency-Key": key})
        require_problem(answer, 400, "invalid-idempotency-key")


def test_every_unsafe_route_is_kept_or_known_not_to_be(world: World) -> None:
    rules = [rule for rule in world.app.url_map.iter_rules() if rule.rule.startswith("/api/")]
    unsafe = {rule.endpoint: rule for rule in rules if (rule.methods or set()) & {"POST", "PUT", "PATCH", "DELETE"}}
    assert {name for name in LOGGED | REPEATABLE if not name.startswith("compatible.")} <= set(unsafe)
    by_route = {(operation.path, operation.method.upper()): operation for operation in OPERATIONS}

    for endpoint, found in unsafe.items():
        method = ((found.methods or set()) - {"OPTIONS", "HEAD", "GET"}).pop()
        operation = by_route[path_of(found.rule), method]
        assert operation.is_stored == (endpoint not in LOGGED | REPEATABLE), endpoint


def path_of(rule: str) -> str:
    return re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule)


def test_a_batch_for_which_somebody_waits_is_not_asked_for_again(shared_world: World) -> None:
    body = {"forecasts": [{"series_id": factories.SERIES}, {"series_id": factories.SERIES}], "horizon": 3}
    headers = {"Idempotency-Key": "batch-in-progress"}

    def ask() -> TestResponse:
        return shared_world.app.test_client().post("/api/v1/forecasts:batch", json=body, headers=headers)

    with Responder(shared_world.broker) as predictor, ThreadPoolExecutor(2) as pool:
        predictor.pause()
        pending = {pool.submit(ask), pool.submit(ask)}
        (early,) = wait_until(lambda: {one for one in pending if one.done()})
        predictor.resume()
        (first,) = pending - {early}
        answered = first.result()
    again = ask()

    # Red without `_alone` in `BatchDesk.ask`: both wait.
    require_problem(early.result(), 409, "request-in-progress")
    assert answered.status_code == again.status_code == 200
    assert answered.json["answers"] == again.json["answers"]
