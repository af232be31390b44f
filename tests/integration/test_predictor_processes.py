from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.forecasts import AsOf, ForecastRequestBatch, ForecastRequested
from schemas.topics import FORECAST_REQUESTS, PARTITIONS
from runtime.broker import partition_for
from tests import factories
from tests.integration.predictor_processes import KafkaLog, Launcher, furnish, wait_until
from tests.predictor_world import WINDOW

pytestmark = pytest.mark.kafka


@pytest.fixture
def log(kafka: str, topic_prefix: str) -> Iterator[KafkaLog]:
    log = KafkaLog(kafka, topic_prefix)
    try:
        furnish(log)
        yield log
    finally:
        log.close()


@pytest.fixture
def launcher(tmp_path: Path, kafka: str, topic_prefix: str) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path, kafka, topic_prefix)
    try:
        yield launcher
    finally:
        launcher.close()


class Load:
    """Requests of every kind, each id once."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self.asked: list[str] = []

    def send(self, count: int) -> None:
        """Write requests: for the series with and without offsets, for windows alone and together."""
        first = len(self.asked)
        self.asked += [f"load-{first + index}" for index in range(count)]
        windows: dict[int, list[ForecastRequested]] = {}
        records = []
        for index, request_id in enumerate(self.asked[first:]):
            match index % 4:
                case 0:
                    records.append(factories.forecast_request(request_id))
                case 1:
                    pin = AsOf(observations=1, models=1, deployments=1)
                    records.append(factories.forecast_request(request_id, as_of=pin))
                case 2:
                    records.append(_window(request_id))
                case _:
                    windows.setdefault(partition_for(request_id.encode(), PARTITIONS), []).append(_window(request_id))
        records += [ForecastRequestBatch(requests=tuple(group)) for group in windows.values()]
        self._log.write(FORECAST_REQUESTS, *records)

    def is_answered(self) -> bool:
        return self._log.answers().keys() >= set(self.asked)


def _window(request_id: str) -> ForecastRequested:
    window = tuple((100.0 + row,) for row in range(WINDOW))
    pin = AsOf(observations=0, models=1, deployments=1)
    return factories.forecast_request(request_id, window=window, model="shop/apples-1d", as_of=pin)


def test_every_request_has_one_answer_through_twenty_kills(log: KafkaLog, launcher: Launcher) -> None:
    """Red when `BatchHandler.handle` acknowledges before it publishes, or the memory of answers is not rebuilt."""
    load = Load(log)
    began = time.monotonic()
    for kill in range(20):
        pid = launcher.start("only")
        load.send(60)
        before = len(log.answers())
        wait_until(lambda before=before: len(log.answers()) >= before + 5 + kill, f"answers before kill {kill}")
        launcher.signal(pid, signal.SIGKILL)
    launcher.start("only")
    wait_until(load.is_answered, "every request answered")
    answers = log.answers()

    assert answers.keys() == set(load.asked)
    assert {request_id: len(found) for request_id, found in answers.items() if len(found) != 1} == {}
    print(f"{len(load.asked)} requests, {log.answer_count} answers, {time.monotonic() - began:.1f} s")
