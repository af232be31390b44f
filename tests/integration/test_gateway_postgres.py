"""The store on PostgreSQL: the same rows as on SQLite, the same refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.migrations.upgrade import upgrade
from gateway.rows import Rows, microseconds
from gateway.store import Position, Store, StoreTaken, StoreUnavailable, open_engine
from gateway.versions import KnownAt, Versions
from runtime.broker import TopicPartition
from schemas import topics
from tests import factories
from tests.postgres import Databases
from tests.unit.gateway.test_gateway_projection import NAMES, log_of, write
from tests.unit.gateway.world import contents, every_record

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.new()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    engine = open_engine(url)
    yield Store(engine)
    engine.dispose()


def test_the_rows_are_those_of_sqlite_however_they_are_written(store: Store, tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'gateway.db'}")
    upgrade(engine)
    messages = log_of(every_record())
    write(Store(engine), messages)

    for message in messages:
        write(store, [message])

    assert contents(store) == contents(Store(engine))
    engine.dispose()


def test_what_was_known_when_is_that_of_sqlite(store: Store, tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'gateway.db'}")
    upgrade(engine)
    messages = log_of(every_record())
    for each in (store, Store(engine)):
        write(each, messages)
    series_id, received = factories.SERIES, microseconds(factories.observation_batch().received_at)

    for known in (
        *(KnownAt(before_offset=offset) for offset in range(4)),
        *(KnownAt(received_us=time) for time in (received - 1, received)),
        KnownAt(),
    ):
        for order in (False, True):
            asked = {"after": 0, "before": 2**40, "limit": 7, "is_newest_first": order}
            found, expected = (
                Versions(each.engine).observations(series_id, known, **asked) for each in (store, Store(engine))
            )
            assert found == expected
            restatements = [
                Versions(each.engine).restatements(series_id, beyond=(1, 0), limit=5, is_newest_first=order)
                for each in (store, Store(engine))
            ]
            assert restatements[0] == restatements[1]
            assert order or len(restatements[0]) == 3
    assert Versions(store.engine).first_offset_after([series_id], received - 1) == 0
    assert Versions(store.engine).first_offset_after([series_id], received) is None
    assert Versions(store.engine).batches(series_id, [0, 1])[1]["reason"] == "late"
    engine.dispose()


def test_an_alarm_is_raised_as_on_sqlite(store: Store) -> None:
    answers = (factories.forecast_issued("r-1"), factories.forecast_refused("r-1"))

    alarms = write(store, log_of([(topics.FORECASTS, answer) for answer in answers]))

    assert [alarm.kind for alarm in alarms] == ["one-request-two-answers"]


def test_two_gateways_on_one_database_are_refused(store: Store) -> None:
    places = [TopicPartition("forecasts", number) for number in range(3)]
    at = {place: Position(5, 1) for place in places}
    store.apply(Rows(), {}, at, NAMES)
    stale = {**at, places[1]: Position(4, 1)}

    # Goes red without the comparison in `Store._move`.
    with pytest.raises(StoreTaken):
        store.apply(Rows(), stale, {place: Position(6, 1) for place in places}, NAMES)
    with pytest.raises(StoreTaken):
        store.apply(Rows(), {}, {places[0]: Position(6, 1)}, NAMES)
    assert store.positions() == at


def test_a_server_that_is_away_may_work_later(url: str) -> None:
    engine = open_engine(f"{url}_nowhere")

    with pytest.raises(StoreUnavailable):
        Store(engine).positions()
