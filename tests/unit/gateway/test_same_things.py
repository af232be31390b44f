"""Two tenants who do the same things, with the same names, keys and files, on one gateway: neither sees a byte of the other.

Whatever an answer gives a tenant as an id is theirs; no answer to the other one may have it, whatever they ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.openapi.operations import OPERATIONS
from schemas.forecasts import ForecastIssued, ForecastRequested, default_model_name
from schemas.record import Record
from schemas.topics import INGEST_EVENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.unit.gateway.matrix import is_page, is_stream
from tests.unit.gateway.tenants import Tenant, Tenants, add_tenant, tenants
from tests.unit.gateway.uploaded import shops
from tests.unit.gateway.world import Responder, issued

LISTS = [
    one.path
    for one in OPERATIONS
    if one.method == "get" and "{" not in one.path and not one.is_open and not (is_stream(one) or is_page(one))
]
#: A forecast id names the content: the same model and the same window give the same one, to each their own record.
_IDS = re.compile(r'"(?!forecast_id)(?:[a-z]+_)?id":"([^"]{6,})"')
#: Of things that both may see: what is public, and what a forecast is made from.
_SHARED = re.compile(r"market(/.*)?|public-.*")
SERIES, MODEL = "{project}/sales@1d", "{project}/sales-1d"
ACTIONS: dict[str, tuple[str, str, Any]] = {
    "forecast": ("POST", "/api/v1/forecasts", {"series_id": SERIES, "horizon": 2}),
    "forecast-public": ("POST", "/api/v1/forecasts", {"series_id": "market/AAPL@1d", "horizon": 2}),
    "forecast-window": ("POST", "/api/v1/forecasts", {"window": [[1.0]], "model": MODEL, "horizon": 1}),
    "batch": (
        "POST",
        "/api/v1/forecasts:batch",
        {"horizon": 1, "forecasts": [{"series_id": SERIES}, {"series_id": "market/AAPL@1d"}]},
    ),
    "train": ("POST", "/api/v1/trainings", {"series_id": SERIES, "algorithm": "drift"}),
    "ingest": ("POST", "/api/v1/ingests", {"series_id": SERIES, "symbol": "S", "source": "mock", "calendar": "24/7"}),
    "append": (
        "POST",
        "/api/v1/observations",
        {"series": [{"series_id": SERIES, "time": ["2025-01-01T00:00:00Z"], "columns": {"close": [1.5]}}]},
    ),
    "deploy": ("POST", "/api/v1/models/{project}/sales-1d/deploy", {"version": factories.VERSION}),
    "schedule": ("PUT", "/api/v1/sources/{project}/sales@1d", {"symbol": "S", "source": "mock", "cron": "0 0 * * *"}),
    "run": ("POST", "/api/v1/sources/{project}/sales@1d/run", None),
    "project": ("POST", "/api/v1/projects", {"name": "Same name"}),
    "key": ("POST", "/api/v1/keys", {"name": "Same name", "role": "viewer"}),
    "invite": (
        "POST",
        "/api/v1/organisations/{organisation}/invitations",
        {"email": "same@example.org", "role": "viewer"},
    ),
}


@dataclass
class Side:
    """One of the two, with all that was answered."""

    tenant: Tenant
    answers: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def filled(self, value: Any) -> Any:
        text = msgspec.json.encode(value).decode()
        text = text.replace("{project}", self.tenant.project_id).replace("{organisation}", self.tenant.organisation_id)
        return msgspec.json.decode(text)

    def send(self, both: Tenants, method: str, path: str, **sent: Any) -> Any:
        headers = {**self.tenant.admin.headers, **sent.pop("headers", {})}
        answer = both.world.client.open(self.filled(path), method=method, headers=headers, **sent)
        assert answer.status_code < 500, answer.text
        text = answer.get_data(as_text=True)
        self.answers.append(f"{answer.headers}{text}")
        self.ids |= {found for found in _IDS.findall(text) if not _SHARED.fullmatch(found)}
        return answer

    def look(self, both: Tenants) -> None:
        for path in LISTS:
            self.send(both, "GET", path)

    @property
    def own(self) -> set[str]:
        """Return what nobody else may see."""
        people = (text for one in self.tenant.members.values() for text in (one.user_id, one.email, one.key_id))
        return {self.tenant.project_id, self.tenant.organisation_id, *people} | self.ids


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    folder = tmp_path_factory.mktemp("gateway")
    with tenants(folder, files_directory=folder / "files") as started:
        started.world.publish(OBSERVATIONS, factories.observation_batch(series_id="market/AAPL@1d"))
        with Responder(started.world.broker, by_own_model):
            yield started


def by_own_model(request: ForecastRequested) -> Record:
    answer = issued(request)
    assert isinstance(answer, ForecastIssued)
    name = request.model or default_model_name(request.series_id or "")
    used = msgspec.structs.replace(answer.model, name=name)
    public = {"forecast_id": f"public-{request.horizon}"} if request.series_id == "market/AAPL@1d" else {}
    return msgspec.structs.replace(answer, model=used, **public)


def new_side(both: Tenants, number: int) -> Side:
    """Return a tenant who has a series and a model, both called as those of the other one."""
    side = Side(add_tenant(both.world, f"side{number}"))
    series_id = side.filled(SERIES)
    both.world.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id))
    model, trained = default_model_name(series_id), f"{side.tenant.project_id}-training"
    both.world.publish(MODELS, factories.model_release(model=model, series_ids=(series_id,), training_id=trained))
    return side


def require_apart(one: Side, other: Side) -> None:
    for mine, theirs in ((one, other), (other, one)):
        for answer in mine.answers:
            assert [text for text in theirs.own if text in answer] == [], answer


_NUMBERS = iter(range(0, 1_000_000, 2))
STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(ACTIONS)), st.sampled_from([None, "k1", "k2"]), st.booleans()),
    min_size=1,
    max_size=4,
)
#: Each thing once, under one key: what no example that is drawn may come to.
EVERYTHING: list[tuple[str, str | None, bool]] = [(name, "k1", False) for name in ACTIONS]


@settings(max_examples=3, deadline=None)
@example(steps=EVERYTHING)
@given(steps=STEPS)
def test_the_same_things_by_two_tenants_stay_apart(both: Tenants, steps: list[tuple[str, str | None, bool]]) -> None:
    """Red without `tenancy.own_id`, without `of_projects` in any list, or where an answer names the other's things."""
    number = next(_NUMBERS)
    sides = (new_side(both, number), new_side(both, number + 1))
    both.world.settle()
    for name, key, is_turned in steps:
        method, path, body = ACTIONS[name]
        headers = {} if key is None else {"Idempotency-Key": key}
        statuses = {}
        for side in reversed(sides) if is_turned else sides:
            sent = {} if body is None else {"json": side.filled(body)}
            answer = side.send(both, method, path, headers=headers, **sent)
            statuses[side.tenant.project_id] = answer.status_code
        assert len(set(statuses.values())) == 1, f"{name} was answered in two ways: {statuses}"
    both.world.settle()
    for side in sides:
        side.look(both)
    require_apart(*sides)
    for side, other in (sides, sides[::-1]):
        for found in sorted(other.ids):
            for kind in ("forecasts", "trainings", "ingests", "batches", "projects"):
                answer = both.world.client.get(f"/api/v1/{kind}/{found}", headers=side.tenant.admin.headers)
                assert answer.status_code == 404, (kind, found, answer.text)


def test_the_same_file_by_two_tenants_becomes_two_projects(both: Tenants) -> None:
    """Red when an upload is found by what it holds, or an ingest by the name of its file."""
    sides = (new_side(both, next(_NUMBERS)), new_side(both, next(_NUMBERS)))
    for side in sides:
        query = {"filename": "sales.csv", "name": "Sales"}
        answer = side.send(
            both, "POST", "/api/v1/projects", data=shops(), query_string=query, content_type="application/octet-stream"
        )
        assert answer.status_code == 201, answer.text
        for line in answer.get_json()["upload"]["series"]:
            failed = factories.ingest_event(
                line["ingest"]["ingest_id"], series_id=line["ingest"]["series_id"], state="failed", reason="none"
            )
            both.world.publish(INGEST_EVENTS, failed)
    both.world.settle()
    for side in sides:
        side.look(both)
    require_apart(*sides)
