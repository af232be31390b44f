"""Batches, the stream of events and webhooks over a real Kafka and the real server, through a kill."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse

from runtime.clock import SystemClock
from runtime.publisher import Publisher
from schemas import topics
from tests import factories
from tests.integration.gateway_process import GatewayProcess
from tests.integration.test_gateway_kafka import Log, log_with_a_champion
from tests.unit.gateway.receiver import receiver
from tests.unit.gateway.world import Responder, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]
SERIES = [f"shop/item-{number:02d}@1d" for number in range(24)]


@pytest.fixture
def log(kafka: str, topic_prefix: str) -> Iterator[Log]:
    with log_with_a_champion(kafka, topic_prefix) as log:
        publisher = Publisher(log.broker.producer(), service="test", clock=SystemClock(), topic_prefix=topic_prefix)
        for series_id in SERIES:
            batch = factories.observation_batch(series_id=series_id)
            publisher.send(topics.OBSERVATIONS, batch).result(60.0)
        publisher.close()
        yield log


class Told:
    """Reads the stream in a thread, comes again behind the last event whenever it ends, and remembers all."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._url = f"http://127.0.0.1:{gateway.port}/api/v1/events?project=shop"
        self.request_ids: list[str] = []
        self.streams = 0
        self.last_id = ""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._is_over.is_set():
            headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
            try:
                with (
                    httpx.Client(timeout=2) as client,
                    connect_sse(client, "GET", self._url, headers=headers) as source,
                ):
                    self.streams += 1
                    for event in source.iter_sse():
                        self.last_id = event.id
                        if event.event == "forecast.issued":
                            self.request_ids.append(json.loads(event.data)["data"]["request_id"])
            except httpx.HTTPError:
                self._is_over.wait(0.2)


def test_everything_is_told_through_a_kill(log: Log, tmp_path: Path) -> None:
    # An attempt may take the 15 s of every gateway: one that fails twice is made anew after five minutes only.
    gateway = GatewayProcess(log.servers, log.prefix, tmp_path, webhook_allowed_networks='["127.0.0.0/8"]')
    told = None
    try:
        with Responder(log.broker, prefix=log.prefix), receiver() as taker:
            gateway.start()
            made = gateway.call(
                "POST", "/api/v1/projects/shop/webhooks", {"url": taker.url, "events": ["forecast.issued"]}
            )
            assert made.status == 201, made.content
            told = Told(gateway)
            wait_until(lambda: told.last_id, "the first stream")
            asked = {answer["request_id"] for answer in batch(gateway, "first")}
            wait_until(lambda: asked <= set(told.request_ids), "every forecast of the first batch")

            gateway.kill()
            gateway.start()
            asked |= {answer["request_id"] for answer in batch(gateway, "second")}
            wait_until(lambda: asked <= set(told.request_ids), "every forecast through the kill")
            # Up to two thousand, and what was taken but not sent when it was killed is taken anew 25 s after that.
            wait_until(lambda: len(set(taker.ids)) == len(asked), "every delivery through the kill", 300)

            assert len(told.request_ids) == len(set(told.request_ids))
            assert told.streams >= 2
            assert taker.verified(made.json["secret"])["type"] == "forecast.issued"
            assert {json.loads(body)["data"]["request_id"] for body in taker.bodies} == asked
        told.stop()
        assert gateway.stop() == 0
    finally:
        if told is not None:
            told.stop()
        gateway.close()


def batch(gateway: GatewayProcess, key: str) -> list[dict[str, str]]:
    """Ask for a thousand forecasts; return the answers."""
    body = {"horizon": 3, "forecasts": [{"series_id": SERIES[number % len(SERIES)]} for number in range(1000)]}
    answer = gateway.call(
        "POST", "/api/v1/forecasts:batch", body, {"Idempotency-Key": key, "Prefer": "wait=60"}, timeout_seconds=120
    )
    assert answer.status == 200, answer.content[:500]
    document = answer.json
    assert document["counts"]["issued"] == 1000, document["counts"]
    again = gateway.call(
        "POST", "/api/v1/forecasts:batch", body, {"Idempotency-Key": key, "Prefer": "wait=60"}, timeout_seconds=120
    )
    assert again.content == answer.content
    answers: list[dict[str, str]] = document["answers"]
    return answers
