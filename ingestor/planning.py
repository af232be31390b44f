"""What is to be done of the schedules of one partition now: pure, made from its part of the log alone.

Nothing else says what has been done. A run is named by its series and the time at which it is due, a training by its
rule and what it follows, so whoever begins one twice (an instance that does not know yet that it lost the partition)
writes the same id twice, and the second is a repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec import structs

from forecasting.panel import Observations
from ingestor.schedule import Timetable, late_from, retrain_timetable, timetable
from runtime.incoming import Incoming
from schemas.identity import content_id
from schemas.ingests import IngestEvent, IngestRequested
from schemas.observations import ObservationBatch
from schemas.record import Record
from schemas.schedules import RetrainRule, RunPlanned, SeriesScheduled
from schemas.trainings import TrainingRequested

#: `ingest-events` forgets after 30 days what has been done: a run that was missed longer ago is not caught up.
CATCH_UP = timedelta(days=28)
#: Gives the view of a series, of all that is known or below an offset; ``None`` without observations.
View = Callable[[str, int | None], Observations | None]
_AT_ONCE = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Schedule:
    record: SeriesScheduled
    #: When it was written, by its writer: what was due before is no business of it.
    since: datetime


@dataclass
class PartitionPlan:
    """What one partition of the log says of schedules, runs and trainings.

    Attributes:
        partition: Its number.
        view: Gives the series of the partition.
        has_ended: Whether the log has the final event of an ingest.
        as_of: Gives the ends of `observations` that a training of these series may read up to, by partition.
    """

    partition: int
    view: View
    has_ended: Callable[[str], bool]
    as_of: Callable[[Sequence[str]], dict[str, int]]
    _schedules: dict[str, _Schedule] = field(default_factory=dict)
    _told: dict[str, RunPlanned] = field(default_factory=dict)
    _last_run: dict[str, str] = field(default_factory=dict)
    #: The last request for each model.
    _trainings: dict[str, TrainingRequested] = field(default_factory=dict)
    _training_ids: set[str] = field(default_factory=set)
    #: Series -> when to look at it again; one that is not named waits for nothing.
    _wake: dict[str, datetime] = field(default_factory=dict)

    def learn(self, incoming: Incoming) -> None:
        """Take in a record of the partition."""
        record = incoming.record
        if isinstance(record, SeriesScheduled):
            self._schedules[record.series_id] = _Schedule(record, incoming.envelope.time)
        else:
            self._note(record)
        if isinstance(record, SeriesScheduled | IngestRequested | IngestEvent | ObservationBatch):
            self._look_again(record.series_id)
        elif isinstance(record, TrainingRequested):
            for series_id in record.series_ids:
                self._look_again(series_id)

    def has_work(self, now: datetime) -> bool:
        """Return whether a series is to be looked at."""
        return any(moment <= now for moment in self._wake.values())

    def due(self, now: datetime) -> list[Record]:
        """Return what is to be written now.

        Whoever cannot write it calls `retry`; whoever has does not ask again before it is read back.
        """
        found: list[Record] = []
        for series_id in [series_id for series_id, moment in self._wake.items() if moment <= now]:
            del self._wake[series_id]
            found += self._due_of(self._schedules[series_id], now)
        return found

    def retry(self) -> None:
        """Look at every series again: what was due may not have been written."""
        for series_id in self._schedules:
            self._look_again(series_id)

    def _look_again(self, series_id: str) -> None:
        if series_id in self._schedules:
            self._wake[series_id] = _AT_ONCE

    def _note(self, record: Record) -> None:
        if isinstance(record, IngestRequested) and record.cause == "schedule":
            self._last_run[record.series_id] = record.ingest_id
        elif isinstance(record, RunPlanned):
            self._told[record.series_id] = record
        elif isinstance(record, TrainingRequested) and record.training_id not in self._training_ids:
            self._training_ids.add(record.training_id)
            self._trainings[record.model] = record

    def _due_of(self, schedule: _Schedule, now: datetime) -> Iterator[Record]:
        record = schedule.record
        plan = RunPlanned(schedule_id=record.schedule_id, series_id=record.series_id)
        if not record.is_paused:
            try:
                fetching = timetable(record)
                clocks = [(rule, retrain_timetable(record, rule) if rule.cron else None) for rule in record.retrain]
            except ValueError as error:  # a calendar that is not known is one too
                plan = structs.replace(plan, reason=str(error))
            else:
                yield from self._due_run(schedule, fetching, now)
                yield from self._due_trainings(schedule, clocks, now)
                moments = [table.next_moment(now) for table in (fetching, *(clock for _, clock in clocks if clock))]
                if planned := [moment for moment in moments if moment is not None]:
                    self._wake[record.series_id] = min(planned)
                plan = structs.replace(plan, next_run=moments[0], late_from=self._late_from(record, now))
        if self._told.get(record.series_id) != plan:
            yield plan

    def _due_run(self, schedule: _Schedule, table: Timetable, now: datetime) -> Iterator[IngestRequested]:
        record = schedule.record
        last = self._last_run.get(record.series_id)
        if last is not None and not self.has_ended(last):
            return  # a run that comes due meanwhile is caught up when that one has ended
        due = table.newest(max(schedule.since, now - CATCH_UP), now)
        ingest_id = content_id("schedule", record.series_id, due)
        if due is None or self.has_ended(ingest_id):
            return
        yield IngestRequested(
            ingest_id=ingest_id,
            series_id=record.series_id,
            sources=record.sources,
            symbol=record.symbol,
            freq=record.freq,
            calendar=record.calendar,
            adjust=record.adjust,
            known_future=record.known_future,
            cause="schedule",
        )

    def _due_trainings(
        self, schedule: _Schedule, clocks: Iterable[tuple[RetrainRule, Timetable | None]], now: datetime
    ) -> Iterator[TrainingRequested]:
        """Yield the trainings that the rules ask for, at most one a model."""
        series_id, begun = schedule.record.series_id, set()
        for rule, clock in clocks:
            last = self._trainings.get(rule.model)
            if last is None or series_id not in last.series_ids or rule.model in begun:
                continue
            training_id, cause = self._due_training(schedule, rule, clock, last, now)
            if training_id and training_id not in self._training_ids:
                begun.add(rule.model)
                as_of = self.as_of(last.series_ids)
                yield structs.replace(last, training_id=training_id, as_of=as_of, cause=cause)

    def _due_training(
        self, schedule: _Schedule, rule: RetrainRule, clock: Timetable | None, last: TrainingRequested, now: datetime
    ) -> tuple[str, str]:
        """Return id and cause of the training that a rule asks for; empty when it asks for none."""
        series_id = schedule.record.series_id
        due = None if clock is None else clock.newest(schedule.since, now)
        by_clock = content_id("retrain", series_id, rule.model, due)
        if due is not None and by_clock not in self._training_ids:
            return by_clock, "schedule"
        if rule.every_observations and self._new_observations(series_id, last) >= rule.every_observations:
            # Named after the training that it follows: the next one counts from this.
            return content_id("retrain", series_id, rule.model, last.training_id), "observations"
        return "", ""

    def _new_observations(self, series_id: str, last: TrainingRequested) -> int:
        """Return how many values of the target have come since what the last training could read."""
        before = self.view(series_id, last.as_of.get(str(self.partition), 0))
        return _values(self.view(series_id, None), last.target) - _values(before, last.target)

    def _late_from(self, record: SeriesScheduled, now: datetime) -> datetime | None:
        observations = self.view(record.series_id, None)
        if observations is None:
            return None
        rows = int(np.searchsorted(observations.time, now.timestamp(), side="right"))
        if rows == 0:  # all of it is known future
            return None
        newest = datetime.fromtimestamp(int(observations.time[rows - 1]), UTC)
        return late_from(record.calendar, record.freq, newest)


def _values(observations: Observations | None, target: str) -> int:
    if observations is None or target not in observations.columns:
        return 0
    return int(np.isfinite(observations.columns[target]).sum())
