"""What a training reads: its own series, up to the pinned offsets, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from forecasting.errors import InvalidTraining
from runtime.broker import OutgoingMessage, partition_for
from runtime.memory_broker import MemoryBroker
from schemas.topics import OBSERVATIONS
from tests.factories import SERIES, START, observation_batch, training_request
from tests.unit.trainer.member import Log
from trainer.observations import read_observations

PARTITION = partition_for(SERIES.encode(), 12)
#: Shares the partition of `SERIES`.
NEIGHBOUR = next(
    name
    for name in (f"shop/other{number}@1d" for number in range(1_000))
    if partition_for(name.encode(), 12) == PARTITION
)


def read(broker: MemoryBroker, *series_ids: str, end: int, max_rows: int = 1_000) -> list[list[float]]:
    as_of = {str(partition_for(name.encode(), 12)): end for name in series_ids}
    request = training_request(series_ids=series_ids, as_of=as_of)
    found = read_observations(broker, request, topic_prefix="", max_rows=max_rows)
    assert [series.series_id for series in found] == list(series_ids)
    return [list(series.columns["close"]) for series in found]


def test_nothing_at_or_beyond_the_pinned_offset_is_read(broker: MemoryBroker) -> None:
    # Red without `message.offset < ends` in `read_observations`: a poll brings messages from beyond it.
    log = Log(broker)
    for day in range(3):
        batch = observation_batch(start=START + timedelta(days=day), rows=1, columns={"close": (float(day),)})
        log.write(OBSERVATIONS, batch)

    assert read(broker, SERIES, end=2) == [[0.0, 1.0]]
    assert read(broker, SERIES, end=3) == [[0.0, 1.0, 2.0]]


def test_later_record_for_the_same_time_counts(broker: MemoryBroker) -> None:
    log = Log(broker)
    log.write(OBSERVATIONS, observation_batch(rows=2, columns={"close": (1.0, 2.0)}))
    restated = observation_batch(rows=1, columns={"close": (1.5,)}, kind="restatement", reason="split")
    log.write(OBSERVATIONS, restated)

    assert read(broker, SERIES, end=1) == [[1.0, 2.0]]
    assert read(broker, SERIES, end=2) == [[1.5, 2.0]]


def test_series_come_in_the_order_of_the_request_and_others_are_left_out(broker: MemoryBroker) -> None:
    log = Log(broker)
    log.write(OBSERVATIONS, observation_batch(series_id=NEIGHBOUR, rows=1, columns={"close": (7.0,)}))
    log.write(OBSERVATIONS, observation_batch(rows=1, columns={"close": (1.0,)}))

    assert read(broker, SERIES, end=2) == [[1.0]]
    assert read(broker, NEIGHBOUR, SERIES, end=2) == [[7.0], [1.0]]


def test_junk_under_the_key_of_the_series_is_passed_over(broker: MemoryBroker) -> None:
    log = Log(broker)
    junk = OutgoingMessage(topic=OBSERVATIONS.name, key=SERIES.encode(), value=b"junk")
    broker.producer().send(junk).result(1)
    log.write(OBSERVATIONS, observation_batch(rows=1, columns={"close": (1.0,)}))
    broker.skip_offsets(next(key for key in broker.logs if key == (OBSERVATIONS.name, PARTITION)), 3)

    assert read(broker, SERIES, end=5) == [[1.0]]


def test_missing_value_is_nan(broker: MemoryBroker) -> None:
    Log(broker).write(OBSERVATIONS, observation_batch(rows=2, columns={"close": (1.0, None)}))

    ((first, second),) = read(broker, SERIES, end=1)

    assert first == 1.0
    assert np.isnan(second)


def test_series_that_begins_at_the_pinned_offset_is_unknown(broker: MemoryBroker) -> None:
    log = Log(broker)
    log.write(OBSERVATIONS, observation_batch(series_id=NEIGHBOUR, rows=1))
    log.write(OBSERVATIONS, observation_batch(rows=1))

    with pytest.raises(InvalidTraining, match=f"before offset 1 of partition {PARTITION}, was '{SERIES}'; ingest it"):
        read(broker, SERIES, end=1)


def test_rows_of_all_series_together_are_bounded(broker: MemoryBroker) -> None:
    log = Log(broker)
    log.write(OBSERVATIONS, observation_batch(series_id=NEIGHBOUR, rows=6))
    log.write(OBSERVATIONS, observation_batch(rows=6))

    with pytest.raises(InvalidTraining, match="at most 10 rows together, was at least 12"):
        read(broker, SERIES, NEIGHBOUR, end=2, max_rows=10)
