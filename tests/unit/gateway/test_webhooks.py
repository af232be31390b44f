"""Webhooks over HTTP: from a record in the log to a receiver that checks the signature."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.accounts.tables import AUDIT
from gateway.events import Event
from gateway.webhooks.deliveries import delivery_id_of
from gateway.webhooks.rows import Webhook
from runtime.broker import TopicPartition
from runtime.errors import TransientError
from runtime.memory_consumer import MemoryConsumer
from schemas.topics import FORECASTS, MODELS
from tests import factories
from tests.unit.gateway.receiver import receiver
from tests.unit.gateway.tenants import Tenants, tenants
from tests.unit.gateway.world import World, partition_of, running, wait_until

pytestmark = pytest.mark.loopback
URL = "/api/v1/projects/shop/webhooks"
ANYWHERE = {"url": "https://93.184.215.14/hook", "events": ["forecast.issued"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("gateway")
    # An attempt that takes longer is made again, and counts as another one.
    with running(folder, webhook_allowed_networks=["127.0.0.0/8"], webhook_timeout_seconds=60.0) as started:
        started.settle()
        yield started


def make(world: World, url: str, *events: str, **more: Any) -> Any:
    body = {"url": url, "events": events or ("forecast.issued",), **more}
    answer = world.client.post(URL, json=body)
    assert answer.status_code == 201, answer.text
    return answer.get_json()


def deliveries(world: World, webhook: Any, state: str = "any") -> list[Any]:
    path = f"{URL}/{webhook['webhook_id']}/deliveries?state={state}"
    found: list[Any] = world.client.get(path).get_json()["deliveries"]
    return found


def test_a_forecast_is_sent_once_and_signed(world: World) -> None:
    with receiver() as taker:
        made = make(world, taker.url, "forecast.issued", "model.released", series_id=factories.SERIES)
        for record in (factories.forecast_issued("told-1"), factories.forecast_issued("told-1")):
            world.publish(FORECASTS, record, partition_of(factories.SERIES))
        world.publish(FORECASTS, factories.forecast_issued("other", series_id="shop/plums@1d"))
        world.publish(FORECASTS, factories.forecast_refused("refused", series_id=factories.SERIES))
        world.publish(MODELS, factories.model_release())
        wait_until(lambda: len(deliveries(world, made, "delivered")) == 2, "two deliveries")
        documents = {
            taker.verified(made["secret"], number)["type"]: taker.verified(made["secret"], number) for number in (0, 1)
        }

    assert set(documents) == {"forecast.issued", "model.released"}
    assert documents["forecast.issued"]["data"]["request_id"] == "told-1"
    assert {"graph", "leaderboard", "fold_metrics", "fold_spread"}.isdisjoint(documents["model.released"]["data"])
    assert sorted(taker.ids) == sorted(line["delivery_id"] for line in deliveries(world, made))
    assert made["secret"].startswith("whsec_")
    for path in (URL, f"{URL}/{made['webhook_id']}"):
        assert made["secret"] not in world.client.get(path).text
    world.client.delete(f"{URL}/{made['webhook_id']}")


def test_a_crash_before_the_commit_makes_no_second_delivery(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red without the id of `delivery_id_of`: what is read again would be sent again as something else."""
    enqueuer = world.service.webhooks.enqueuer
    place = TopicPartition(FORECASTS.name, partition_of(factories.SERIES))
    end = world.broker.end_offsets([place])[place]
    commit: Any = MemoryConsumer.commit
    refused: list[MemoryConsumer] = []

    def commit_later(consumer: MemoryConsumer, offsets: Any) -> None:
        if not refused and offsets.get(place, 0) > end:
            refused.append(consumer)
            raise TransientError("killed before the commit")
        commit(consumer, offsets)

    # Of every member: that of an earlier webhook may be there still, and leave before anything more comes.
    monkeypatch.setattr(MemoryConsumer, "commit", commit_later)
    with receiver() as taker:
        made = make(world, taker.url)
        world.publish(FORECASTS, factories.forecast_issued("crash-1"), partition_of(factories.SERIES))
        wait_until(lambda: refused, "a commit that fails")
        wait_until(lambda: enqueuer._consumer not in (None, *refused) and enqueuer._begun, "a new member")
        world.publish(FORECASTS, factories.forecast_issued("crash-2"), partition_of(factories.SERIES))
        wait_until(lambda: len(deliveries(world, made, "delivered")) == 2, "both deliveries")
    assert len(taker.ids) == len(set(taker.ids)) == 2
    world.client.delete(f"{URL}/{made['webhook_id']}")


def test_what_the_table_does_not_take_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when `Enqueuer.turn` commits before `enqueue` has returned: it would never be sent."""
    enqueuer = world.service.webhooks.enqueuer
    enqueue, refused = enqueuer._deliveries.enqueue, []

    def once(items: Any) -> None:
        if not refused:
            refused.append(list(items))
            raise TransientError("the database is away")
        enqueue(items)

    with receiver() as taker:
        made = make(world, taker.url)
        wait_until(lambda: enqueuer._consumer is not None and enqueuer._begun, "membership")
        monkeypatch.setattr(enqueuer._deliveries, "enqueue", once)
        world.publish(FORECASTS, factories.forecast_issued("away-1"), partition_of(factories.SERIES))
        wait_until(lambda: refused, "a failure")
        wait_until(lambda: deliveries(world, made, "delivered"), "the delivery")
    world.client.delete(f"{URL}/{made['webhook_id']}")


def test_a_webhook_is_tested_disabled_enabled_and_its_deliveries_replayed(world: World) -> None:
    with receiver(lambda count: (200 if count else 410, {}, b"")) as taker:
        made = make(world, taker.url)
        path = f"{URL}/{made['webhook_id']}"
        tested = world.client.post(f"{path}/test")
        assert tested.status_code == 202
        wait_until(lambda: not world.client.get(path).get_json()["is_enabled"], "410 disables")
        for refused in (
            f"{path}/test",
            f"{path}/replay",
            f"{path}/deliveries/{tested.get_json()['delivery_id']}/replay",
        ):
            assert world.client.post(refused).get_json()["type"] == "/problems/webhook-disabled"
        enabled = world.client.patch(path, json={"is_enabled": True}).get_json()
        assert (enabled["is_enabled"], enabled["disabled_reason"], enabled["failing_since"]) == (True, "", None)
        assert world.client.post(f"{path}/replay?since=2020-01-01T00:00:00Z").get_json() == {"replayed": 1}
        wait_until(lambda: deliveries(world, made, "delivered"), "the replay")
        again = world.client.post(f"{path}/deliveries/{tested.get_json()['delivery_id']}/replay")
        assert again.status_code == 202
        wait_until(lambda: len(taker.ids) == 3, "another replay")
        assert taker.verified(made["secret"])["type"] == "webhook.test"
    assert len(set(taker.ids)) == 1
    rotated = world.client.post(f"{path}/secret").get_json()
    assert rotated["secret"] != made["secret"]
    switched = world.client.patch(path, json={"is_enabled": False, "url": "http://127.0.0.1:9/x"}).get_json()
    assert (switched["is_enabled"], switched["disabled_reason"]) == (False, "switched off")
    assert world.client.delete(path).status_code == 204
    assert world.client.get(path).status_code == 404


def test_deliveries_come_in_pages(world: World) -> None:
    made = make(world, "http://127.0.0.1:9/")
    path = f"{URL}/{made['webhook_id']}"
    sent = [world.client.post(f"{path}/test").get_json()["delivery_id"] for _ in range(5)]
    pages, following = [], f"{path}/deliveries?limit=2"
    while following:
        page = world.client.get(following).get_json()
        pages += page["deliveries"]
        following = page["next"]
    assert [line["delivery_id"] for line in pages] == sent[::-1]
    world.client.delete(path)


def test_a_delivery_of_another_webhook_is_not_there(world: World) -> None:
    """Red without the webhook in `Deliveries.get`: somebody else's delivery would be shown to whoever knows its id."""
    own, other = (make(world, "http://127.0.0.1:9/") for _ in range(2))
    foreign = world.client.post(f"{URL}/{other['webhook_id']}/test").get_json()["delivery_id"]
    told = []
    for delivery_id in (foreign, "nobody"):
        answer = world.client.post(f"{URL}/{own['webhook_id']}/deliveries/{delivery_id}/replay")
        assert answer.status_code == 404
        told.append(answer.text.replace(delivery_id, "ID").replace(answer.headers["X-Request-ID"], "REQUEST"))
    assert told[0] == told[1]
    for made in (own, other):
        world.client.delete(f"{URL}/{made['webhook_id']}")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**ANYWHERE, "url": "http://93.184.215.14/"}, "url"),
        ({**ANYWHERE, "url": "https://10.0.0.1/"}, "url"),
        ({**ANYWHERE, "url": "https://user@example.com/"}, "url"),
        ({**ANYWHERE, "events": ["lottery"]}, "events[0]"),
        ({**ANYWHERE, "events": []}, "events"),
        ({"url": ANYWHERE["url"]}, "events"),
        ({**ANYWHERE, "series_id": "other/apples@1d"}, "series_id"),
        ({**ANYWHERE, "model": "other/apples-1d"}, "model"),
        ({**ANYWHERE, "secret": "whsec_mine"}, "secret"),
    ],
)
def test_bad_webhooks_are_refused(world: World, body: Any, field: str) -> None:
    answer = world.client.post(URL, json=body)
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/nobody", 404),
        ("patch", "/nobody", 404),
        ("delete", "/nobody", 404),
        ("post", "/nobody/test", 404),
        ("post", "/nobody/secret", 404),
        ("post", "/nobody/replay", 404),
        ("get", "/nobody/deliveries", 404),
        ("get", "?page=1", 422),
    ],
)
def test_what_is_not_there(world: World, method: str, path: str, status: int) -> None:
    assert world.client.open(URL + path, method=method.upper(), json={}).status_code == status


def test_a_project_has_so_many_webhooks_at_most(tmp_path: Path) -> None:
    with running(tmp_path, max_webhooks_a_project=2) as small:
        answers = [small.client.post(URL, json=ANYWHERE) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 409]


def test_events_from_before_a_webhook_are_not_its_own() -> None:
    webhook = Webhook(
        webhook_id="wh_1",
        project_id="shop",
        url="",
        events=("forecast.issued",),
        series_id=None,
        model=None,
        is_enabled=True,
        disabled_reason="",
        failing_since_us=None,
        created_us=int(datetime(2025, 1, 2, tzinfo=UTC).timestamp() * 1_000_000),
    )

    def event(time: datetime, series_id: str = factories.SERIES, kind: str = "forecast.issued") -> Event:
        return Event(
            id="x",
            type=kind,
            time=time,
            place=TopicPartition("forecasts", 0),
            offset=0,
            row_key=("x",),
            series_ids=(series_id,),
            model=None,
            record=b"{}",
        )

    made = datetime(2025, 1, 2, tzinfo=UTC)
    assert webhook.wants(event(made))
    assert webhook.wants(event(made - timedelta(seconds=30)))
    assert not webhook.wants(event(made - timedelta(minutes=2)))
    assert not webhook.wants(event(made, series_id="other/apples@1d"))
    # Red without `event.project` in `Webhook.wants`: what others asked of public series would be told.
    assert not webhook.wants(event(made, series_id="market/gold@1d"))
    assert not webhook.wants(event(made, kind="forecast.refused"))
    assert delivery_id_of("wh_1", "x") == delivery_id_of("wh_1", "x") != delivery_id_of("wh_2", "x")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("tenants")) as started:
        started.world.settle()
        yield started


def test_webhooks_are_for_admins_of_the_project(both: Tenants) -> None:
    """Red without `_owner` in gateway.routes.webhooks."""
    client = both.world.client
    path = f"/api/v1/projects/{both.apples.project_id}/webhooks"

    def post(url: str, headers: dict[str, str]) -> Any:
        return client.post(url, json=ANYWHERE, headers=headers)

    made = post(path, both.apples.admin.headers)
    assert made.status_code == 201
    own = f"{path}/{made.get_json()['webhook_id']}"
    assert post(path, both.apples.editor.headers).status_code == 403
    assert client.get(own, headers=both.apples.viewer.headers).status_code == 403
    foreign = client.get(own, headers=both.pears.admin.headers)
    missing = client.get("/api/v1/projects/nothing/webhooks/wh_1", headers=both.pears.admin.headers)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.get_json()["detail"].replace(both.apples.project_id, "nothing") == missing.get_json()["detail"]
    theirs = f"/api/v1/projects/{both.pears.project_id}/webhooks/{made.get_json()['webhook_id']}"
    assert client.get(theirs, headers=both.pears.admin.headers).status_code == 404
    assert post("/api/v1/projects/market/webhooks", both.pears.admin.headers).status_code == 403
    assert post("/api/v1/projects/market/webhooks", both.operator.headers).status_code == 201
    assert client.get(own).status_code == 401


def test_every_change_is_in_the_audit_log_without_the_secret(both: Tenants) -> None:

    path = f"/api/v1/projects/{both.pears.project_id}/webhooks"
    headers = both.pears.admin.headers
    made = both.world.client.post(path, json=ANYWHERE, headers=headers).get_json()
    own = f"{path}/{made['webhook_id']}"
    rotated = both.world.client.post(f"{own}/secret", headers=headers).get_json()
    both.world.client.patch(own, json={"is_enabled": False}, headers=headers)
    both.world.client.delete(own, headers=headers)
    with both.world.accounts.read() as connection:
        of_webhook = select(AUDIT).where(AUDIT.c.subject == made["webhook_id"])
        rows = connection.execute(of_webhook.order_by(AUDIT.c.sequence)).all()
    assert [row.action for row in rows] == [
        "webhook.created",
        "webhook.secret-rotated",
        "webhook.changed",
        "webhook.deleted",
    ]
    assert {row.actor for row in rows} == {f"user/{both.pears.admin.user_id}"}
    for secret in (made["secret"], rotated["secret"]):
        assert secret not in repr(rows)
