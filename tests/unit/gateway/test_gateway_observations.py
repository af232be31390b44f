"""Live rows over HTTP: one append a partition, at home there; bodies that do not fit are refused whole."""

from __future__ import annotations

import pytest

from runtime.broker import TopicPartition
from schemas.appends import AppendRequested
from schemas.codec import decode
from schemas.topics import INGEST_REQUESTS
from tests.unit.gateway.world import World, partition_of

URL = "/api/v1/observations"


def rows(series_id: str, **changes: object) -> dict:
    return {"series_id": series_id, "time": ["2025-01-02T21:00:00Z"], "columns": {"sales": [1.5]}} | changes


def asked(world: World) -> list[tuple[int, AppendRequested]]:
    places = [TopicPartition(INGEST_REQUESTS.name, number) for number in range(INGEST_REQUESTS.partitions)]
    found = []
    reader = world.broker.reader(dict.fromkeys(places, 0))
    while messages := reader.poll(0, 1000):
        for message in messages:
            record = decode(INGEST_REQUESTS, message.value, message.headers).record
            assert isinstance(record, AppendRequested)
            found.append((message.partition, record))
    return found


def test_rows_become_one_append_a_partition(world: World) -> None:
    names = [f"shop/s{number}@1h" for number in range(40)]
    answer = world.client.post(URL, json={"series": [rows(name) for name in names]})

    assert answer.status_code == 202, answer.text
    found = asked(world)
    assert sorted(one.series_id for _, append in found for one in append.series) == sorted(names)
    assert all(partition_of(one.series_id) == partition for partition, append in found for one in append.series)
    assert len({partition for partition, _ in found}) == len(found) == len(answer.json["ingests"])
    assert {one["ingest_id"] for one in answer.json["ingests"]} == {append.ingest_id for _, append in found}


def test_the_same_rows_with_the_same_key_are_the_same_append(world: World) -> None:
    for _ in range(2):
        world.client.post(URL, json={"series": [rows("shop/a@1h")]}, headers={"Idempotency-Key": "key-1"})
    world.client.post(URL, json={"series": [rows("shop/a@1h")]})

    ids = [append.ingest_id for _, append in asked(world)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("series", "told"),
    [
        ([rows("shop/a@1h"), rows("shop/a@1h")], "each series once"),
        ([rows("shop/a@1h", columns={"sales": [1.0, 2.0]})], "must have 1 values"),
        ([rows("shop/a")], "series"),
        ([rows("shop/a@1h", colums={})], "colums"),
        ([], "length"),
    ],
)
def test_rows_that_do_not_fit_are_refused(world: World, series: list, told: str) -> None:
    answer = world.client.post(URL, json={"series": series})
    assert answer.status_code == 422
    assert told in answer.text
    assert asked(world) == []
