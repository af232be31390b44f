"""Any order of repeats under any keys: the first body of a key is the one that is answered, once."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import factories
from tests.unit.gateway.test_gateway_forecasts import ask
from tests.unit.gateway.world import Responder, World

BODIES = tuple({"series_id": factories.SERIES, "horizon": horizon} for horizon in (1, 2))
CALLS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from((0, 0, 1)), st.sampled_from(("at once", "after the store"))),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def answering(shared_world: World) -> Iterator[tuple[World, Responder]]:
    with Responder(shared_world.broker) as responder:
        yield shared_world, responder


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(calls=CALLS)
def test_a_key_is_one_request_with_one_answer(
    answering: tuple[World, Responder], calls: list[tuple[int, int, str]]
) -> None:
    world, predictor = answering
    example = uuid4().hex
    first_body: dict[str, int] = {}
    first_answer: dict[str, bytes] = {}
    for number, body, moment in calls:
        key = f"{example}-{number}"
        if moment == "after the store":
            world.settle()

        answer = ask(world, BODIES[body], key=key)

        if first_body.setdefault(key, body) != body:
            assert answer.status_code == 422
            assert answer.json["type"] == "/problems/idempotency-key-reused"
        else:
            assert answer.status_code == 200
            assert first_answer.setdefault(key, answer.data) == answer.data
    asked = [request for request in predictor.requests if request.request_id.startswith(example)]
    assert sorted(request.request_id for request in asked) == sorted(first_body)
    assert {request.request_id: request.horizon - 1 for request in asked} == first_body
