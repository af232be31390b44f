from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from foretopic.embedded_kafka import EmbeddedKafka
from runtime.broker import partition_for
from schemas.forecasts import AsOf, ForecastRequestBatch, ForecastRequested
from schemas.topics import FORECAST_REQUESTS, PARTITIONS
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


@pytest.fixture
def launcher_of_own(tmp_path: Path) -> Iterator[tuple[EmbeddedKafka, Launcher]]:
    """A broker that may be killed, and predictors on it."""
    with EmbeddedKafka(tmp_path / "kafka") as kafka:
        launcher = Launcher(tmp_path, kafka.bootstrap_servers, "")
        try:
            yield kafka, launcher
        finally:
            launcher.close()


def test_topics_with_another_number_of_partitions_are_served(kafka: str, topic_prefix: str, launcher: Launcher) -> None:
    """Red when `predictor.__main__` takes the number from `schemas.topics`: observations would be dead letters."""
    request = factories.forecast_request("request-1")
    key = FORECAST_REQUESTS.key(request).encode()
    assert partition_for(key, 5) != partition_for(key, PARTITIONS)
    log = KafkaLog(kafka, topic_prefix, partitions=5)
    try:
        furnish(log)
        launcher.start("one")
        log.write(FORECAST_REQUESTS, request)
        log.write(FORECAST_REQUESTS, factories.forecast_request("request-2"), partition=(partition_for(key, 5) + 1) % 5)

        for request_id in ("request-1", "request-2"):
            assert log.answer(request_id)["lineage"]["observation_partition"] == partition_for(key, 5)
    finally:
        log.close()


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

    def move(self, log: KafkaLog) -> None:
        """Go on with new connections."""
        self._log = log

    def is_answered(self) -> bool:
        return self._log.answers().keys() >= set(self.asked)


def _window(request_id: str) -> ForecastRequested:
    window = tuple((100.0 + row,) for row in range(WINDOW))
    pin = AsOf(observations=0, models=1, deployments=1)
    return factories.forecast_request(request_id, window=window, model="shop/apples-1d", as_of=pin)


def test_every_request_has_one_answer_through_twenty_kills(log: KafkaLog, launcher: Launcher) -> None:
    """Red when `BatchHandler.handle` acknowledges before it publishes, or the memory of answers is not rebuilt."""
    load = Load(log)
    for kill in range(20):
        # Counted before it starts: it may answer all of the load before we look again.
        enough = len(log.answers()) + 5 + kill
        pid = launcher.start("only")
        load.send(60)
        wait_until(lambda enough=enough: len(log.answers()) >= enough, f"answers before kill {kill}")
        launcher.signal(pid, signal.SIGKILL)
    launcher.start("only")
    wait_until(load.is_answered, "every request answered")
    answers = log.answers()

    assert answers.keys() == set(load.asked)
    assert [request_id for request_id, found in answers.items() if len(found) != 1] == []
    # A kill may repeat what was on its way, with the same bytes; the memory of answers holds back the rest.
    assert log.answer_count < 1.2 * len(load.asked)


def test_partitions_move_between_two_instances_without_losing_a_request(log: KafkaLog, launcher: Launcher) -> None:
    load = Load(log)
    dynamic = {"FORETOPIC_PREDICTOR_INSTANCE_ID": ""}
    first = launcher.start("first", **dynamic)
    load.send(100)
    wait_until(load.is_answered, "answers of the first")
    second = launcher.start("second", **dynamic)
    load.send(100)
    wait_until(lambda: _partitions(launcher, "second") and _partitions(launcher, "first") != set(range(12)), "shared")
    load.send(200)
    wait_until(load.is_answered, "answers of both")
    launcher.signal(first, signal.SIGTERM)
    load.send(100)
    wait_until(lambda: first in launcher.exit_codes("first"), "the first has ended")
    load.send(100)
    wait_until(load.is_answered, "answers of the second")
    answers = log.answers()

    assert launcher.exit_codes("first") == {first: 0}
    assert _partitions(launcher, "second") == set(range(12))
    assert [request_id for request_id, found in answers.items() if len(found) != 1] == []
    assert {line["outcome"] for line in launcher.events("second", "handled")} >= {"issued", "pinned"}
    launcher.signal(second, signal.SIGTERM)
    wait_until(lambda: launcher.exit_codes("second") == {second: 0}, "the second has ended")


def test_broker_that_is_away_for_a_while_costs_no_request(launcher_of_own: tuple[EmbeddedKafka, Launcher]) -> None:
    kafka, launcher = launcher_of_own
    log = KafkaLog(kafka.bootstrap_servers, "")
    furnish(log)
    load = Load(log)
    pid = launcher.start("only")
    load.send(40)
    wait_until(load.is_answered, "answers before")
    log.close()
    kafka.kill(0)
    kafka.restart(0)
    log = KafkaLog(kafka.bootstrap_servers, "")
    try:
        load.move(log)
        load.send(40)

        def is_answered() -> bool:
            # The supervisor's part: a predictor that gave up is started again.
            if launcher.exit_codes("only").keys() >= launcher.started:
                launcher.start("only")
            return load.is_answered()

        wait_until(is_answered, "answers after")
        assert [request_id for request_id, found in log.answers().items() if len(found) != 1] == []
        assert pid in launcher.started
    finally:
        log.close()


def _partitions(launcher: Launcher, name: str) -> set[int]:
    assigned = launcher.events(name, "partitions_assigned")
    return set(assigned[-1]["partitions"]) if assigned else set()
