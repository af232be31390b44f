"""A series by prefixes of its log."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from forecasting.errors import InvalidObservations, TooLittleHistory
from forecasting.panel import Observations, SeriesHistory, complete_rows, window_of
from tests.unit.forecasting.series import DAY, START, batch_of, observations_of


def history_of(*batches) -> SeriesHistory:
    history = SeriesHistory("market/HET@1d")
    for offset, batch in enumerate(batches):
        history.append(10 * offset, batch)
    return history


def values_of(observations: Observations) -> dict[int, dict[str, float]]:
    start = int(START.timestamp())
    return {
        (int(time) - start) // DAY: {name: values[index] for name, values in observations.columns.items()}
        for index, time in enumerate(observations.time)
    }


def test_rows_are_sorted_and_the_later_record_of_a_time_wins() -> None:
    history = history_of(
        batch_of({0: {"close": 1.0}, 2: {"close": 3.0}}, kind="history"),
        batch_of({1: {"close": 2.0}}),
        batch_of({2: {"close": 30.0}}, kind="restatement"),
    )

    assert values_of(history.view()) == {0: {"close": 1.0}, 1: {"close": 2.0}, 2: {"close": 30.0}}
    assert history.view().newest_offset == 20


def test_view_before_an_offset_knows_nothing_beyond_it() -> None:
    history = history_of(
        batch_of({0: {"close": 1.0}}, kind="history"),
        batch_of({1: {"close": 2.0}}),
        batch_of({0: {"close": 10.0}}, kind="restatement"),
        batch_of({2: {"close": 3.0}}),
    )

    assert values_of(history.view(before_offset=1)) == {0: {"close": 1.0}}
    assert values_of(history.view(before_offset=10)) == {0: {"close": 1.0}}
    assert values_of(history.view(before_offset=11)) == {0: {"close": 1.0}, 1: {"close": 2.0}}
    assert values_of(history.view(before_offset=21)) == {0: {"close": 10.0}, 1: {"close": 2.0}}
    assert history.view(before_offset=11).newest_offset == 10


def test_view_before_the_first_observation_is_refused() -> None:
    history = history_of(batch_of({0: {"close": 1.0}}))

    with pytest.raises(InvalidObservations, match="beyond an observation of market/HET@1d, was 0") as caught:
        history.view(before_offset=0)
    assert caught.value.code == "no-observations"


def test_column_that_a_batch_lacks_is_missing_there() -> None:
    history = history_of(
        batch_of({0: {"close": 1.0}}, kind="history"),
        batch_of({1: {"close": 2.0, "volume": 5.0}}),
        batch_of({2: {"volume": 6.0, "close": None}}),
    )

    view = history.view()

    np.testing.assert_array_equal(view.columns["close"], [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(view.columns["volume"], [np.nan, 5.0, 6.0])


def test_redelivered_offset_and_repeated_digest_change_nothing() -> None:
    first, corrected = batch_of({0: {"close": 1.0}}), batch_of({0: {"close": 9.0}}, kind="restatement")
    history = SeriesHistory("market/HET@1d")

    assert history.append(0, first)
    assert history.append(1, corrected)
    assert not history.append(1, corrected)  # the same message again
    assert not history.append(2, first)  # the same fact published again must not undo the correction
    assert values_of(history.view()) == {0: {"close": 9.0}}
    assert history.newest_offset == 1


def test_offsets_that_lie_behind_are_not_learned_again() -> None:
    # The log moves forwards: what stands behind was read, or is a repeat under a digest that it does not have.
    history = SeriesHistory("market/HET@1d")

    assert history.append(5, batch_of({0: {"close": 1.0}}))
    assert not history.append(3, batch_of({0: {"close": 2.0}}))
    assert not history.append(5, batch_of({0: {"close": 3.0}}))
    assert values_of(history.view()) == {0: {"close": 1.0}}


def test_batch_of_another_series_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="batch must be of market/HET@1d, was of market/TOC@1d"):
        history_of(batch_of({0: {"close": 1.0}}, name="TOC"))


def test_view_at_the_end_is_kept_and_earlier_views_stay_true() -> None:
    history = history_of(batch_of({0: {"close": 1.0}}))
    before = history.view()

    assert history.view() is before
    history.append(50, batch_of({1: {"close": 2.0}}))
    after = history.view()
    history.append(60, batch_of({0: {"close": 7.0}}, kind="restatement"))
    history.view()

    assert values_of(before) == {0: {"close": 1.0}}
    assert values_of(after) == {0: {"close": 1.0}, 1: {"close": 2.0}}


def test_arrays_of_a_view_cannot_be_written() -> None:
    view = history_of(batch_of({0: {"close": 1.0}})).view()

    with pytest.raises(ValueError, match="read-only"):
        view.columns["close"][0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        view.time[0] = 0


def test_appended_rows_share_memory_with_the_view_before() -> None:
    # One row more must not copy ten years: red when `_Rows.extend` is not used.
    history = history_of(batch_of({day: {"close": float(day)} for day in range(100)}, kind="history"))
    history.view()
    history.append(100, batch_of({100: {"close": 100.0}}))
    grown = history.view()
    history.append(110, batch_of({101: {"close": 101.0}}))

    assert np.shares_memory(grown.columns["close"], history.view().columns["close"])
    assert len(history.view()) == 102


def test_a_row_that_comes_alone_takes_little_more_memory_than_its_values() -> None:
    """About 1,200 bytes a row with arrays of its own for each batch; red when `Batches` shares no buffers."""
    names = ("open", "high", "low", "close", "volume")
    log = [batch_of({day: dict.fromkeys(names, float(day + 1))}) for day in range(3_000)]
    history = SeriesHistory("market/HET@1d")
    tracemalloc.start()
    try:
        for offset, batch in enumerate(log):
            history.append(offset, batch)
            history.view()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert taken / len(log) < 5 * 8 * (1 + len(names))
    assert len(history.view()) == len(log)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 12), st.integers(0, 99), min_size=1, max_size=4),
            st.sampled_from([("close",), ("close", "volume"), ("volume",)]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_prefix_equals_a_plain_dictionary_of_rows(log) -> None:
    history, seen, expected = SeriesHistory("market/HET@1d"), set(), []
    rows: dict[int, dict[str, float]] = {}
    for offset, (days, columns) in enumerate(log):
        batch = batch_of({day: dict.fromkeys(columns, float(value)) for day, value in days.items()})
        if batch.digest not in seen:
            rows |= {day: dict.fromkeys(columns, float(value)) for day, value in days.items()}
        seen.add(batch.digest)
        expected.append(dict(rows))
        history.append(offset, batch)
        if offset % 3 == 0:
            history.view()  # views in between must not change later ones

    for offset in reversed(range(len(log))):
        view = history.view(before_offset=offset + 1)
        found = {
            day: {name: value for name, value in row.items() if not np.isnan(value)}
            for day, row in values_of(view).items()
        }
        assert found == dict(sorted(expected[offset].items()))


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 12), st.integers(0, 99), min_size=1, max_size=4),
            st.sampled_from([("close",), ("close", "volume"), ("volume",)]),
            st.integers(0, 5),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_what_was_known_at_a_time_equals_a_plain_dictionary_of_the_batches_received_by_then(log) -> None:
    history, learned = SeriesHistory("market/HET@1d"), []
    for offset, (days, columns, minutes) in enumerate(log):
        plain = batch_of({day: dict.fromkeys(columns, float(value)) for day, value in days.items()})
        batch = structs.replace(plain, received_at=START + timedelta(minutes=minutes))
        if history.append(offset, batch):
            learned.append((offset, batch))

    for minutes in range(6):
        time = START + timedelta(minutes=minutes)
        expected: dict[int, dict[str, float]] = {}
        for _, batch in learned:
            if batch.received_at <= time:
                for index, day in enumerate((moment - START).days for moment in batch.time):
                    expected[day] = {name: float(values[index] or 0) for name, values in batch.columns.items()}
        if expected:
            found = values_of(history.view(known_at=time))
            told = {day: {name: v for name, v in row.items() if not np.isnan(v)} for day, row in found.items()}
            assert told == dict(sorted(expected.items()))
        later = [(offset, batch) for offset, batch in learned if batch.received_at >= time]
        since = history.received_since(time)
        assert [(batch.offset, batch.received_at) for batch in since] == [(o, b.received_at) for o, b in later]
        for found_batch, (_, batch) in zip(since, later, strict=True):
            assert {name: values.tolist() for name, values in found_batch.columns.items()} == {
                name: list(values) for name, values in batch.columns.items()
            }


def test_window_passes_over_rows_with_a_missing_value() -> None:
    observations = observations_of(
        {"close": np.array([1.0, 2.0, 3.0, np.nan]), "volume": np.array([1.0, np.nan, 3, 4])}
    )

    window = window_of(observations, ("close", "volume"), 2)

    np.testing.assert_array_equal(window.values, [[1.0, 1.0], [3.0, 3.0]])
    assert window.cutoff == datetime(2020, 1, 8, tzinfo=UTC)
    assert len(complete_rows(observations, ("close",))) == 3


def test_window_longer_than_the_history_names_both_numbers() -> None:
    with pytest.raises(TooLittleHistory, match=r"at least 5 rows of market/HET@1d .*, was 3 of 3"):
        window_of(observations_of({"close": np.ones(3)}), ("close",), 5)


def test_unknown_column_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidObservations, match="columns of market/HET@1d: close, was 'open'") as caught:
        window_of(observations_of({"close": np.ones(3)}), ("open",), 2)
    assert caught.value.code == "unknown-column"
