"""Both clients against a live gateway: what people do with it."""

from __future__ import annotations

import asyncio
import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from foretopic import AsyncClient, Client
from foretopic.client import Problem, Unsuccessful
from gateway.access import Role
from schemas import topics
from tests import factories
from tests.unit.client.conftest import AsyncWsgi
from tests.unit.gateway.possessions import series_of
from tests.unit.gateway.tenants import Tenants, add_user
from tests.unit.gateway.world import wait_until


def test_a_forecast_is_asked_for_and_looked_up(client: Any, both: Tenants) -> None:
    series_id = series_of(both.apples)
    forecast = client.forecast(series_id, horizon=2, levels=[80])

    assert (forecast.series_id, len(forecast.steps)) == (series_id, 2)
    assert forecast.steps[0].quantiles.keys() == {"0.1", "0.9"}
    both.world.settle()
    assert client.get_forecast(forecast.forecast_id).steps == forecast.steps


def test_a_key_of_ones_own_asks_once(client: Any, both: Tenants, kind: str) -> None:
    asked = {"horizon": 4, "key": f"mine-{kind}"}
    first = client.forecast(series_of(both.apples), **asked)

    assert client.forecast(series_of(both.apples), **asked).request_id == first.request_id
    with pytest.raises(Problem) as caught:
        client.forecast(series_of(both.apples), horizon=5, key=f"mine-{kind}")
    assert (caught.value.status, caught.value.code) == (422, "idempotency-key-reused")


def test_a_problem_says_what_and_where(client: Any, both: Tenants) -> None:
    with pytest.raises(Problem, match="horizon") as caught:
        client.forecast(series_of(both.apples), horizon=0)

    assert caught.value.code == "invalid-body"
    assert caught.value.errors[0].field == "horizon"
    assert len(caught.value.request_id) == 32


def test_a_batch_is_waited_for(client: Any, both: Tenants) -> None:
    entries = [{"series_id": series_of(both.apples)}, {"series_id": f"{both.apples.project_id}/nothing@1d"}]
    batch = client.batch(entries, horizon=2).wait(60)

    assert [line.state for line in batch.answers] == ["issued", "refused"]
    assert len(batch.answers[0].forecast.steps) == 2
    assert batch.answers[1].problem["status"] == 404


def test_lists_are_read_page_by_page(client: Any, both: Tenants) -> None:
    for horizon in (2, 3):
        client.forecast(series_of(both.apples), horizon=horizon)
    both.world.settle()

    found = list(client.list_forecasts(limit=1, project=both.apples.project_id))

    assert len(found) > 2
    assert len({line.request_id for line in found}) == len(found)
    assert list(client.list_forecasts(status="refused", series_id=series_of(both.apples))) == []


@pytest.mark.parametrize(
    ("name", "asked", "file_format"),
    # Red without `_FORMATS`: a file that ends in .csv would hold Parquet.
    [("history", "csv", "csv"), ("history.csv", None, "csv"), ("history.JSONL", None, "ndjson")],
)
def test_a_history_becomes_a_file(
    *, client: Any, both: Tenants, tmp_path: Path, name: str, asked: str | None, file_format: str
) -> None:
    both.world.settle()  # what is stored between the file and the list would stand in the list alone
    into = client.export("forecasts", tmp_path / name, file_format=asked, project=both.apples.project_id)

    text = into.read_text()
    rows = (
        list(csv.DictReader(text.splitlines()))
        if file_format == "csv"
        else list(map(msgspec.json.decode, text.splitlines()))
    )
    assert {row["request_id"] for row in rows} == {line.request_id for line in client.list_forecasts()}
    assert list(tmp_path.iterdir()) == [into]


def test_a_file_that_is_refused_leaves_nothing(client: Any, tmp_path: Path) -> None:
    with pytest.raises(Problem):
        client.export("forecasts", tmp_path / "history", file_format="xml")
    assert list(tmp_path.iterdir()) == []


def test_a_training_is_waited_for(client: Any, both: Tenants) -> None:
    job = client.start_training(series_of(both.apples), algorithm="drift")
    told = {"model": job.answer.model, "series_id": series_of(both.apples), "version": factories.VERSION}
    both.world.publish(
        topics.TRAINING_EVENTS, factories.training_event(job.answer.training_id, state="succeeded", **told)
    )

    assert job.wait(60).version == factories.VERSION
    ended = list(client.follow_training(job.answer.training_id))
    assert [event.data["state"] for event in ended] == ["succeeded"]


def test_a_training_that_failed_says_so(client: Any, both: Tenants) -> None:
    job = client.start_training(series_of(both.apples), algorithm="mean")
    told = {"model": job.answer.model, "series_id": series_of(both.apples), "reason": "too little history"}
    both.world.publish(topics.TRAINING_EVENTS, factories.training_event(job.answer.training_id, state="failed", **told))

    with pytest.raises(Unsuccessful, match="too little history") as caught:
        job.wait(60)
    assert caught.value.outcome.state == "failed"


def test_a_project_is_made_of_a_file(client: Any, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "sales.csv"
    file.write_text("date,sales\n" + "".join(f"2024-01-{day:02},{day}\n" for day in range(1, 29)))

    made = client.create_project(f"Shops {kind}", file=file, target="sales")

    assert made.file.mapping.target == "sales"
    assert made.upload.series[0].rows == 28
    assert made.project_id in {one.project_id for one in client.list_projects().projects}
    assert client.change_project(made.project_id, description="all of them").description == "all of them"
    assert client.get_project(made.project_id).state == "loading"


def test_webhooks_and_keys(client: Any, new_client: Any, both: Tenants) -> None:
    hook = client.create_webhook(both.apples.project_id, url="https://8.8.8.8/hook", events=["forecast.issued"])
    assert hook.secret.startswith("whsec_")
    assert client.change_webhook(both.apples.project_id, hook.webhook_id, is_enabled=False).is_enabled is False
    assert client.delete_webhook(both.apples.project_id, hook.webhook_id) is None

    person = new_client(app=both.world.app, api_key=both.apples.admin.token)
    made = person.create_key("nightly", role="viewer", scopes=["read"])
    with pytest.raises(Problem) as caught:
        new_client(app=both.world.app, api_key=made.key).forecast(series_of(both.apples), horizon=1)
    assert caught.value.status == 403
    assert person.revoke_key(made.key_id) is None


def test_usage_is_summed(client: Any, both: Tenants) -> None:
    client.forecast(series_of(both.apples), horizon=2)
    both.world.settle()
    (line,) = client.usage(by=["project"], project=both.apples.project_id).usage
    assert line.forecasts >= 1


def person(both: Tenants, email: str) -> dict[str, str]:
    """Return what somebody signs in with."""
    password = "four random words here"
    hashed = both.world.service.sign_in.passwords.hash(password)
    add_user(both.world, email, {both.apples.organisation_id: Role.EDITOR}, password_hash=hashed)
    return {"email": email, "password": password}


def test_tokens_that_ran_out_are_renewed(new_client: Any, both: Tenants, kind: str) -> None:
    client = new_client(app=both.world.app)
    signed_in = client.log_in(**person(both, f"{kind}@renewed.example"))
    client.session.tokens = msgspec.structs.replace(signed_in, access_token="ran-out")

    assert client.get_me().email == f"{kind}@renewed.example"
    assert client.session.tokens.refresh_token != signed_in.refresh_token

    client.log_out()
    with pytest.raises(Problem) as caught:
        client.get_me()
    assert caught.value.status == 401


def test_tokens_are_renewed_once_for_many_threads(both: Tenants) -> None:
    """Red without the lock, or the look at whose token is spent, in `BlockingDriver._do`: a refresh token that comes a
    second time is taken for theft and ends the sign-in."""
    asked: list[str] = []

    class Counted(httpx.WSGITransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request.url.path)
            return super().handle_request(request)

    with Client("http://localhost", api_key="", transport=Counted(both.world.app)) as client:
        signed_in = client.log_in(**person(both, "threads@renewed.example"))
        for _ in range(3):
            client.session.tokens = msgspec.structs.replace(client.session.tokens or signed_in, access_token="ran-out")
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(lambda _: client.get_me().email, range(16)))
            assert found == ["threads@renewed.example"] * 16
    assert asked.count("/api/v1/auth/refresh") == 3


async def _asked_together(both: Tenants) -> list[str]:
    async with AsyncClient("http://localhost", api_key="", transport=AsyncWsgi(both.world.app)) as client:
        signed_in = await client.log_in(**person(both, "tasks@renewed.example"))
        client.session.tokens = msgspec.structs.replace(signed_in, access_token="ran-out")
        return [me.email for me in await asyncio.gather(*(client.get_me() for _ in range(16)))]


def test_tokens_are_renewed_once_for_many_tasks(both: Tenants) -> None:
    assert asyncio.run(_asked_together(both)) == ["tasks@renewed.example"] * 16


@pytest.mark.loopback
def test_over_a_socket(served: str, new_client: Any, both: Tenants) -> None:
    client = new_client(url=served, api_key=both.apples.editor.key)

    assert len(client.forecast(series_of(both.apples), horizon=2).steps) == 2
    assert client.get_me().organisation_id == both.apples.organisation_id


@pytest.mark.loopback
def test_events_over_a_socket(served: str, new_client: Any, both: Tenants, kind: str) -> None:
    client, mine = new_client(url=served, api_key=both.apples.editor.key), both.apples.project_id
    # Another level is another forecast: one that was told before is not told again.
    first_level, other_level = (61, 62) if kind == "blocking" else (63, 64)
    events = client.events(project=mine, types=["forecast.issued"])
    # What was asked before this test, and is not stored yet, would be told first.
    both.world.settle()
    listening = ThreadPoolExecutor(1)
    # A stream that was left counts until the gateway has something to send to it.
    left = set(both.world.service.feed._listeners)
    first = listening.submit(next, events)
    wait_until(lambda: both.world.service.feed._listeners - left)
    asked = Client(served, api_key=both.apples.editor.key)
    issued = asked.forecast(series_of(both.apples), horizon=2, levels=[first_level])
    event = first.result(60)
    assert event.data["data"]["request_id"] == issued.request_id
    listening.submit(events.close).result(60)

    # Behind the first one: what comes while nobody listens is told later.
    missed = asked.forecast(series_of(both.apples), horizon=2, levels=[other_level])
    again = client.events(project=mine, types=["forecast.issued"], after=event.id)
    assert listening.submit(next, again).result(60).data["data"]["request_id"] == missed.request_id
    listening.submit(again.close).result(60)
    listening.shutdown()
    asked.close()


def test_where_and_who_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, both: Tenants) -> None:
    monkeypatch.setenv("FORETOPIC_URL", "http://localhost")
    monkeypatch.setenv("FORETOPIC_API_KEY", both.apples.viewer.key)
    with Client(transport=httpx.WSGITransport(both.world.app)) as client:
        assert client.get_me().organisations[0].role == "viewer"
    with pytest.raises(ValueError, match="http"):
        Client("gateway:5000")
