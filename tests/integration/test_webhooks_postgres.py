"""Webhooks in PostgreSQL: the senders of several gateways share the work, and what is read twice is there once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from gateway.accounts.database import AccountsDatabase, open_accounts
from gateway.accounts.tables import DELIVERIES
from gateway.webhooks.deliveries import DELIVERED, FAILED, Claimed, Deliveries
from gateway.webhooks.rows import Webhook, WebhookRows
from runtime.clock import SystemClock
from tests.postgres import Databases

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[AccountsDatabase]:
    database = open_accounts(databases.new(), SystemClock())
    yield database
    database.engine.dispose()


def webhook_of(database: AccountsDatabase) -> Webhook:
    made = WebhookRows(database).create(
        "shop",
        url="https://hooks.example.com/",
        events=("forecast.issued",),
        series_id=None,
        model=None,
        created_by="",
        organisation_id="",
        limit=10,
    )
    assert made is not None
    return made[0]


def test_no_delivery_is_taken_twice_and_none_is_forgotten(database: AccountsDatabase) -> None:
    """Red without the lock or the update in `Deliveries.claim`."""
    webhook = webhook_of(database)
    items = [(webhook, f"event-{number}", "forecast.issued", b"{}") for number in range(200)]
    # Longer than the test: what is not noted as delivered in that time would rightly be taken once more.
    seconds = 600.0
    Deliveries(database, seconds).enqueue(items)
    Deliveries(database, seconds).enqueue(items)
    taken: list[Claimed] = []
    lock = threading.Lock()

    def work() -> None:
        mine = Deliveries(database, seconds)
        while found := mine.claim(webhook.webhook_id, 4):
            for one in found:
                mine.delivered(one, 200)
            with lock:
                taken.extend(found)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({one.delivery_id for one in taken}) == len(taken) == 200
    page = Deliveries(database, seconds).page(webhook.webhook_id, state=DELIVERED, before=None, limit=1000)
    assert len(page) == 200


def test_failures_replays_and_removal(database: AccountsDatabase) -> None:
    webhook, deliveries = webhook_of(database), Deliveries(database, 15.0)
    deliveries.enqueue([(webhook, "one", "forecast.issued", b"{}")])
    assert deliveries.due([]) == [webhook.webhook_id]
    assert deliveries.due([webhook.webhook_id]) == []
    (claimed,) = deliveries.claim(webhook.webhook_id, 4)
    deliveries.failed(claimed, status=500, error="x" * 1000, next_us=None)
    (line,) = deliveries.page(webhook.webhook_id, state=FAILED, before=None, limit=10)
    assert (line.attempts, line.last_status, len(line.last_error)) == (1, 500, 400)
    assert deliveries.page(webhook.webhook_id, state=None, before=(line.created_us, line.delivery_id), limit=10) == []
    assert deliveries.replay(webhook.webhook_id, since_us=line.created_us) == 1
    assert deliveries.due([]) == [webhook.webhook_id]
    deliveries.disable(webhook.webhook_id, "test")
    deliveries.prune({FAILED: -(10**12)})
    assert deliveries.get(webhook.webhook_id, line.delivery_id) is None
    WebhookRows(database).delete(webhook.webhook_id, "")
    assert WebhookRows(database).get("shop", webhook.webhook_id) is None


def test_what_another_sender_is_taking_is_not_waited_for(database: AccountsDatabase) -> None:
    """Red without ``skip_locked`` in `Deliveries.claim`: a sender that is slow to commit would hold up all others."""
    webhook, deliveries = webhook_of(database), Deliveries(database, 15.0)
    deliveries.enqueue([(webhook, f"held-{number}", "forecast.issued", b"{}") for number in range(4)])
    first = select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.webhook_id == webhook.webhook_id)

    with ThreadPoolExecutor(1) as pool, database.engine.begin() as other:
        held = set(other.scalars(first.limit(2).with_for_update()))
        taken = pool.submit(deliveries.claim, webhook.webhook_id, 4).result(60)

    assert len(taken) == 2
    assert held.isdisjoint(one.delivery_id for one in taken)
