"""The plan makes the log say what the frame says, and nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime
from math import nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.panel import SeriesHistory
from ingestor.core import TOLERANCE, Series, plan
from ingestor.errors import BadSourceData
from ingestor.sources import SourceFrame
from schemas.observations import ObservationBatch
from tests.unit.ingestor.frames import DAY, START, frame

SERIES = Series(series_id="market/X@1d", freq="1d", calendar="24/7")
NOW = datetime(2025, 1, 2, tzinfo=UTC)


class Log:
    """One partition with one series."""

    def __init__(self) -> None:
        self.history = SeriesHistory(SERIES.series_id)
        self.batches: list[ObservationBatch] = []

    @property
    def view(self):
        return self.history.view() if self.batches else None

    def publish(self, batches) -> None:
        for batch in batches:
            self.history.append(len(self.batches), batch)
            self.batches.append(batch)

    def ingest(self, given: SourceFrame, stop_after: int | None = None) -> list[ObservationBatch]:
        """Publish the plan, or its first batches: a process that is killed."""
        planned = list(plan(SERIES, self.view, given, NOW))
        self.publish(planned[:stop_after])
        return planned


def rows_of(batches):
    return [int((time.timestamp() - START) // DAY) for batch in batches for time in batch.time]


def test_the_first_load_is_history_in_batches_that_a_message_holds():
    planned = Log().ingest(frame(close=[float(day + 1) for day in range(12_000)]))

    assert [batch.kind for batch in planned] == ["history"] * 3
    assert [len(batch.time) for batch in planned] == [5000, 5000, 2000]
    assert rows_of(planned) == list(range(12_000))


def test_wide_rows_come_in_smaller_batches():
    planned = Log().ingest(frame(**{f"c{index}": [1 / 3] * 3000 for index in range(100)}))

    assert len(planned) > 1
    assert all(len(batch.time) * 100 * 20 < 2**21 for batch in planned)
    assert rows_of(planned) == list(range(3000))


def test_later_rows_are_appended_and_known_ones_left_alone():
    log = Log()
    log.ingest(frame(close=[1, 2]))

    planned = log.ingest(frame(close=[1, 2, 3, 4]))

    assert [(batch.kind, rows_of([batch])) for batch in planned] == [("append", [2, 3])]


def test_rows_before_the_newest_known_one_are_history():
    log = Log()
    log.ingest(frame([2, 4], close=[3, 5]))

    planned = log.ingest(frame([1, 2, 3, 4], close=[2, 3, 4, 5]))

    assert [(batch.kind, rows_of([batch])) for batch in planned] == [("history", [1, 3])]


def test_changed_rows_are_restated_with_the_reason():
    log = Log()
    log.ingest(frame(close=[1, 243.36, 3], source="sample"))

    [batch] = log.ingest(frame(close=[1, 60.84, 3], source="yahoo"))

    assert (batch.kind, batch.source, rows_of([batch])) == ("restatement", "yahoo", [1])
    assert batch.reason == (
        "yahoo gives other values than the log had up to offset 0 (from sample) in 1 row: "
        "2024-01-03 close from 243.36 to 60.84"
    )


def test_a_value_that_changes_there_and_back_and_there_again_is_restated_each_time():
    """Readers drop a batch with the digest of an earlier one: without the offset in the reason the last is lost."""
    log = Log()
    for value in (1.0, 2.0, 1.0, 2.0, 1.0, 2.0):
        log.ingest(frame(close=[value, 9]))
        assert log.view.columns["close"].tolist() == [value, 9]
    assert len({batch.digest for batch in log.batches}) == len(log.batches) == 6


@pytest.mark.parametrize(("factor", "batches"), [(1 + 0.5 * TOLERANCE, 0), (1 + 2 * TOLERANCE, 1)])
def test_values_within_the_tolerance_are_the_same(factor, batches):
    log = Log()
    log.ingest(frame(close=[100.0, 200.0]))

    assert len(log.ingest(frame(close=[100.0 * factor, 200.0]))) == batches


def test_slow_drift_is_measured_against_the_log():
    log = Log()
    log.ingest(frame(close=[100.0]))
    published = [len(log.ingest(frame(close=[100.0 * (1 + 0.4 * TOLERANCE * step)]))) for step in range(1, 6)]

    assert published == [0, 0, 1, 0, 0]


def test_a_missing_value_replaces_nothing():
    log = Log()
    log.ingest(frame(close=[1, 2], volume=[5, 6]))

    assert log.ingest(frame(close=[1, nan], volume=[nan, 6])) == []
    assert log.ingest(frame(close=[1, 2])) == []


def test_a_restated_row_carries_on_what_the_source_does_not_give():
    log = Log()
    log.ingest(frame(close=[1, 2], volume=[5, 6], splits=[0, 0]))

    log.ingest(frame(close=[1, 3], volume=[5, nan]))

    assert {name: values.tolist() for name, values in log.view.columns.items()} == {
        "close": [1, 3],
        "volume": [5, 6],
        "splits": [0, 0],
    }


def test_a_new_column_restates_the_rows_that_have_it():
    log = Log()
    log.ingest(frame(close=[1, 2]))

    [batch] = log.ingest(frame(close=[1, 2], adj_close=[nan, 1.5]))

    assert rows_of([batch]) == [1]
    assert "adj_close from missing to 1.5" in batch.reason
    assert log.view.columns["adj_close"].tolist()[1] == 1.5


def test_a_frame_in_another_unit_is_refused():
    log = Log()
    log.ingest(frame(close=[1], unit="USD"))

    with pytest.raises(BadSourceData, match="is in USD in the log, the source gives EUR"):
        log.ingest(frame(close=[1], unit="EUR"))
    assert log.ingest(frame(close=[1, 2]))[0].unit == "USD"


def test_another_calendar_than_in_the_log_is_refused():
    log = Log()
    log.ingest(frame(close=[1]))
    other = Series(series_id=SERIES.series_id, freq="1d", calendar="XNYS")

    with pytest.raises(BadSourceData, match="has calendar 24/7 in the log, asked was XNYS"):
        plan(other, log.view, frame(close=[1]), NOW)


values = st.none() | st.floats(0.01, 1e6)


@st.composite
def frames(draw):
    days = sorted(draw(st.lists(st.integers(0, 30), min_size=1, max_size=20, unique=True)))
    names = draw(st.lists(st.sampled_from(["close", "volume", "extra"]), min_size=1, max_size=3, unique=True))
    columns = {
        name: [nan if v is None else v for v in draw(st.lists(values, min_size=len(days), max_size=len(days)))]
        for name in names
    }
    return frame(days, **columns)


def says(log: Log) -> dict[tuple[int, str], float]:
    view = log.view
    return {
        (int(time), name): value
        for name, column in view.columns.items()
        for time, value in zip(view.time, column, strict=True)
        if not np.isnan(value)
    }


@settings(max_examples=100, deadline=None)
@given(loads=st.lists(st.tuples(frames(), st.integers(0, 3)), min_size=1, max_size=5))
def test_the_log_says_what_the_frames_said_last_and_a_repeat_publishes_nothing(loads):
    """Also when the process dies between two batches and the ingest is repeated."""
    log = Log()
    expected: dict[tuple[int, str], float] = {}
    for given_frame, killed_after in loads:
        log.ingest(given_frame, stop_after=killed_after)
        log.ingest(given_frame)
        for name, column in given_frame.columns.items():
            for time, value in zip(given_frame.time, column, strict=True):
                if not np.isnan(value):
                    expected[int(time), name] = value
        assert log.ingest(given_frame) == []
        said = says(log)
        assert said.keys() == expected.keys()
        assert all(abs(said[key] - value) <= TOLERANCE * value for key, value in expected.items())
