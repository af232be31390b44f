"""Out-of-order, overlapping and repeated loads against a plain dictionary: the latest view, and every earlier one.

What the ingestor plans is read back by `SeriesHistory` (trainer, predictor, ingestor) and by the tables of the gateway;
each must say, at every offset and time, what the dictionary said then.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from forecasting.errors import InvalidObservations
from forecasting.panel import Observations, SeriesHistory
from gateway.observed import columnar
from gateway.rows import microseconds, rows_of
from gateway.store import Store
from gateway.tables import METADATA
from gateway.versions import KnownAt, Versions
from ingestor.core import Series, plan
from schemas import topics
from schemas.observations import ObservationBatch
from schemas.topics import TOPIC_BY_NAME
from tests import factories
from tests.unit.ingestor.frames import DAY, START, frame

Row = dict[str, float]
#: Day -> column -> value, without what is missing.
View = dict[int, Row]
NAMES = {name: name for name in TOPIC_BY_NAME}
COLUMNS = ("close", "dividends")
DAYS = st.integers(0, 7)
#: A last digit that wanders by less than the tolerance is no change.
VALUES = st.sampled_from([1.0, 2.0, 3.0, 1.0 * (1 + 1e-9), 2.0 * (1 - 1e-9), math.nan])
LOADS = st.dictionaries(
    DAYS, st.fixed_dictionaries({"close": VALUES}, optional={"dividends": VALUES}), min_size=1, max_size=6
)


def merged(view: View, load: View) -> View:
    """Return what a load makes of a view: a missing value replaces nothing, a tiny difference neither."""
    found = {day: dict(row) for day, row in view.items()}
    for day, row in load.items():
        kept = found.setdefault(day, {})
        for name, value in row.items():
            if not math.isnan(value) and not math.isclose(value, kept.get(name, math.inf), rel_tol=1e-6):
                kept[name] = value
    return found


def overwritten(view: View, batch: ObservationBatch) -> View:
    """Return what a batch makes of a view: its rows count as a whole."""
    found = dict(view)
    for index, time in enumerate(batch.time):
        values = {name: column[index] for name, column in batch.columns.items()}
        day = (int(time.timestamp()) - START) // DAY
        found[day] = {name: value for name, value in values.items() if value is not None}
    return found


def of_observations(observations: Observations) -> View:
    return {
        (int(time) - START) // DAY: {
            name: float(values[index]) for name, values in observations.columns.items() if not np.isnan(values[index])
        }
        for index, time in enumerate(observations.time)
    }


class LogMachine(RuleBasedStateMachine):
    """One series: its log, and the dictionary after each offset."""

    def __init__(self) -> None:
        super().__init__()
        self.series = Series(series_id=f"market/S{next(NUMBERS)}@1d", freq="1d", calendar="24/7")
        self.history = SeriesHistory(self.series.series_id)
        self.now = datetime(2025, 1, 1, tzinfo=UTC)
        self.view: View = {}
        self.log: list[ObservationBatch] = []
        #: The view before each offset, and the latest one.
        self.views: list[View] = [{}]

    @rule(load=LOADS, minutes=st.integers(0, 3))
    def load(self, load: View, minutes: int) -> None:
        """Fetch some rows and publish what they change."""
        self.now += timedelta(minutes=minutes, microseconds=7)
        days = sorted(load)
        names = [name for name in COLUMNS if any(name in row for row in load.values())]
        columns = {name: [load[day].get(name, math.nan) for day in days] for name in names}
        known = self.history.view() if self.log else None
        expected = merged(self.view, load)
        for batch in plan(self.series, known, frame(days, **columns), self.now):
            assert batch.kind != "restatement" or batch.reason
            self.publish(batch)
        # Where a row changes, its other values come along as they are given now.
        assert self.view == {day: pytest.approx(row, rel=1e-6) for day, row in expected.items()}

    @rule(rows=st.dictionaries(DAYS, st.sampled_from([4.0, 5.0]), min_size=1, max_size=3), back=st.booleans())
    def publish_as_another_writer(self, rows: dict[int, float], back: bool) -> None:
        """Publish whole rows without a look at what is known; its clock may be behind.

        It takes no value away: what then only adds it again would be an append with the digest of an earlier one.
        """
        received_at = self.now - timedelta(minutes=2) if back else self.now
        self.publish(
            factories.observation_batch(
                series_id=self.series.series_id,
                time=tuple(datetime.fromtimestamp(START + DAY * day, UTC) for day in sorted(rows)),
                columns={"close": tuple(rows[day] for day in sorted(rows))},
                received_at=received_at,
                kind="append",
            )
        )

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Publish a batch again, as after a lost acknowledgement."""
        if self.log:
            self.publish(data.draw(st.sampled_from(self.log)))

    @rule(data=st.data())
    def redeliver(self, data: st.DataObject) -> None:
        """Read an offset again, as after a rebalance."""
        if self.log:
            offset = data.draw(st.integers(0, len(self.log) - 1))
            assert not self.history.append(offset, self.log[offset])

    def publish(self, batch: ObservationBatch) -> None:
        is_new = batch.digest not in {each.digest for each in self.log}
        if is_new:
            self.view = overwritten(self.view, batch)
        assert self.history.append(len(self.log), batch) == is_new
        self.log.append(batch)
        self.views.append(self.view)

    def known_at(self, time: datetime, before_offset: int) -> View:
        """Return what the dictionary says of the batches received until ``time``: the first of each digest counts."""
        view: View = {}
        digests: set[str] = set()
        for batch in self.log[:before_offset]:
            if batch.digest not in digests and batch.received_at <= time:
                view = overwritten(view, batch)
            digests.add(batch.digest)
        return view

    @invariant()
    def the_latest_view_is_the_dictionary(self) -> None:
        if self.log:
            assert of_observations(self.history.view()) == self.view

    def teardown(self) -> None:
        """Ask for every earlier point, now that all has been learned."""
        times = sorted({batch.received_at for batch in self.log})
        times += [time - timedelta(microseconds=1) for time in times]
        for offset, view in enumerate(self.views):
            assert self.read(before_offset=offset) == view
        for time, offset in itertools.product(times, {len(self.log), len(self.log) // 2}):
            assert self.read(before_offset=offset, known_at=time) == self.known_at(time, offset)

    def read(self, *, before_offset: int, known_at: datetime | None = None) -> View:
        try:
            return of_observations(self.history.view(before_offset=before_offset, known_at=known_at))
        except InvalidObservations:
            return {}


class TablesMachine(LogMachine):
    """The same, read from the tables of the gateway."""

    store: Store

    @initialize()
    def begin(self) -> None:
        self.versions = Versions(self.store.engine)

    def publish(self, batch: ObservationBatch) -> None:
        """Project one batch a transaction; every other one together with what came before it, as after a crash."""
        super().publish(batch)
        first = max(0, len(self.log) - 1 - len(self.log) % 2)
        messages = [
            factories.incoming(topics.OBSERVATIONS, each, offset=offset)
            for offset, each in enumerate(self.log[first:], first)
        ]
        self.store.apply(rows_of(messages), {}, {}, NAMES)

    @invariant()
    def the_latest_view_is_the_dictionary(self) -> None:
        super().the_latest_view_is_the_dictionary()
        assert self.rows(KnownAt()) == self.view

    def read(self, *, before_offset: int, known_at: datetime | None = None) -> View:
        received_us = None if known_at is None else microseconds(known_at)
        return self.rows(KnownAt(before_offset=before_offset, received_us=received_us))

    def rows(self, known: KnownAt) -> View:
        found = self.versions.observations(
            self.series.series_id, known, after=None, before=None, limit=100, is_newest_first=False
        )
        answer = columnar(found)
        assert answer["time"] == sorted(set(answer["time"]))
        return {
            (int(time.timestamp()) - START) // DAY: {
                name: values[index] for name, values in answer["columns"].items() if values[index] is not None
            }
            for index, time in enumerate(answer["time"])
        }

    def teardown(self) -> None:
        """Ask for every earlier point, and for what was restated."""
        super().teardown()
        changes = [
            (offset, day)
            for offset, (before, after) in enumerate(itertools.pairwise(self.views))
            for day in sorted(before)
            if day in after and before[day] != after[day]
        ]
        told = self.versions.restatements(self.series.series_id, beyond=None, limit=1000, is_newest_first=False)
        found = [(row["log_offset"], (row["time"] - START) // DAY) for row in told]
        # A row that says less or more in columns without values changes in its text alone.
        assert [place for place in found if place in changes] == changes


NUMBERS = itertools.count()


def quick(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=10,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def test_every_view_of_a_history_is_what_the_dictionary_said_then() -> None:
    run_state_machine_as_test(LogMachine, settings=quick(500))


@pytest.fixture
def tables_machine() -> Callable[[], TablesMachine]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    yield type("TablesMachineOfOneStore", (TablesMachine,), {"store": Store(engine)})
    engine.dispose()


def test_every_view_of_the_tables_is_what_the_dictionary_said_then(tables_machine: type[TablesMachine]) -> None:
    run_state_machine_as_test(tables_machine, settings=quick(100))


LOADED, CHANGED = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC)
CLOSE, DIVIDENDS, FACTORS = [100.0, 104.0, 108.0], [0.0, 0.0, 0.0], "every price is {} of what it was"


@pytest.mark.parametrize(
    ("close", "dividends", "cause", "restated"),
    [
        ([25.0, 26.0, 27.0, 28.0], [0.0] * 4, FACTORS.format("0.25"), 3),
        ([99.0, 102.96, 106.92, 110.0], [0.0, 0.0, 0.0, 1.0], FACTORS.format("0.99"), 3),
        ([99.0, 102.96, 108.0, 110.0], [0.0, 0.0, 1.0, 0.0], "2024-01-04 dividends from 0 to 1", 3),
        ([100.0, 104.0, 108.5, 110.0], [0.0] * 4, "it was the newest row", 1),
        ([100.0, 105.0, 109.0, 110.0], [0.0] * 4, "2024-01-03 close from 104 to 105", 2),
    ],
    ids=["split", "dividend", "dividend-of-a-known-day", "provisional", "corrected"],
)
def test_what_changes_is_restated_with_its_cause_and_stays_readable(
    close: list[float], dividends: list[float], cause: str, restated: int
) -> None:
    series, history = Series(series_id="market/X@1d", freq="1d", calendar="24/7"), SeriesHistory("market/X@1d")
    loads = [(frame(close=CLOSE, dividends=DIVIDENDS), LOADED), (frame(close=close, dividends=dividends), CHANGED)]
    for given, received_at in loads:
        planned = plan(series, history.view() if len(history) else None, given, received_at)
        for batch in planned:
            history.append(history.newest_offset + 1, batch)

    assert [(batch.kind, len(batch.time)) for batch in planned] == [("restatement", restated), ("append", 1)]
    assert cause in planned[0].reason
    assert history.view().columns["close"].tolist() == close
    assert history.view(known_at=LOADED).columns["close"].tolist() == CLOSE
    assert history.view(before_offset=1).columns["dividends"].tolist() == DIVIDENDS
