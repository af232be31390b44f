"""Runs and trainings that are due, on the in-memory broker with a moved clock: each once, whatever happens between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestor.compose import build
from ingestor.fetching import Fetched
from ingestor.jobs import InProcessRunner
from ingestor.owned import OwnedPartitions
from ingestor.scheduler import READ, Scheduler
from ingestor.settings import IngestorSettings
from ingestor.sources import Wanted
from ingestor.state import IngestLog
from runtime.broker import TopicPartition, partition_for
from runtime.errors import TransientError
from runtime.follower import Follower
from runtime.job_worker import JobWorker
from runtime.memory_broker import MemoryBroker
from runtime.memory_delivery import PromptNetwork, SentMessage
from runtime.topic_specs import specs
from schemas.ingests import IngestEvent, IngestRequested
from schemas.record import Record
from schemas.schedules import RetrainRule, RunPlanned
from schemas.topics import INGEST_EVENTS, INGEST_REQUESTS, INGEST_SCHEDULES, OBSERVATIONS, TRAINING_REQUESTS, Topic
from schemas.trainings import TrainingRequested
from tests.factories import (
    SERIES,
    observation_batch,
    outgoing_message,
    schedule,
    training_request,
)
from tests.fakes import ManualClock
from tests.unit.ingestor.frames import frame
from tests.unit.ingestor.test_handlers import records

MODEL = training_request().model
PARTITION = partition_for(SERIES.encode(), 12)
NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
RULE = RetrainRule(model=MODEL, every_observations=3)


def one_row(wanted: Wanted) -> Fetched:
    return Fetched(frame=frame(close=[1.0], source="mock"), rows_received=1)


class Failing(PromptNetwork):
    """Loses what is sent while it is told to."""

    is_failing = False

    def on_send(self, sent: SentMessage) -> None:
        if self.is_failing:
            sent.fail("lost")
        else:
            super().on_send(sent)


class Installation:
    """Ingestors on one broker and one clock."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        self.network = Failing()
        self.broker = MemoryBroker(self.clock, network=self.network)
        self.broker.ensure_topics(specs())
        self.workers: list[JobWorker] = []

    def start(self) -> JobWorker:
        sources = {"mock": one_row}
        self.workers.append(
            build(
                IngestorSettings(retry_seconds=0),
                runner=InProcessRunner,
                broker=self.broker,
                clock=self.clock,
                sources=sources,
            )
        )
        return self.workers[-1]

    def stop(self, worker: JobWorker) -> None:
        self.workers.remove(worker)
        worker.close()

    def vanish(self, worker: JobWorker) -> None:
        """End an instance as `kill -9` does; the group is told, as after its session ran out."""
        self.workers.remove(worker)
        if worker.consumer is not None:
            self.broker.expire(worker.consumer)

    def write(self, topic: Topic, record: Record) -> None:
        self.broker.producer().send(outgoing_message(topic, record, time=self.clock.now())).result(0)

    def work(self, cycles: int = 6) -> None:
        """Let every instance do some cycles: more than a run takes from being due to being told."""
        for _ in range(cycles):
            for worker in self.workers:
                for _ in worker.steps():
                    pass

    def move(self, **by: float) -> None:
        self.clock.advance(timedelta(**by).total_seconds())

    def runs(self) -> list[IngestRequested]:
        return [r for r in records(self.broker, INGEST_REQUESTS) if r.cause == "schedule"]

    def ends(self) -> list[str]:
        found = [r for r in records(self.broker, INGEST_EVENTS) if isinstance(r, IngestEvent)]
        return [event.ingest_id for event in found if event.state != "running"]

    def plans(self) -> list[RunPlanned]:
        return [r for r in records(self.broker, INGEST_EVENTS) if isinstance(r, RunPlanned)]

    def trainings(self) -> list[TrainingRequested]:
        return [r for r in records(self.broker, TRAINING_REQUESTS) if r.cause in ("schedule", "observations")]


def owned(worker: JobWorker) -> OwnedPartitions:
    """Return what an instance knows of its partitions."""
    return worker._core._owned


@pytest.fixture
def world() -> Iterator[Installation]:
    found = Installation()
    yield found
    for worker in list(found.workers):
        found.stop(worker)


def test_a_due_run_is_asked_for_as_the_schedule_says(world):
    world.write(INGEST_SCHEDULES, schedule(sources=("mock", "file"), adjust=True, known_future=("promo",)))
    world.start()
    world.work()
    assert world.runs() == []  # what was due before the schedule was written is no business of it

    world.move(hours=12)
    world.work()

    [run] = world.runs()
    assert (run.series_id, run.symbol, run.sources) == (SERIES, "APPLES", ("mock", "file"))
    assert (run.adjust, run.known_future, run.cause) == (True, ("promo",), "schedule")
    assert world.ends() == [run.ingest_id]


def test_each_day_has_its_run(world):
    world.write(INGEST_SCHEDULES, schedule())
    world.start()
    for _ in range(3):
        world.move(days=1)
        world.work()

    assert len(world.runs()) == len({run.ingest_id for run in world.runs()}) == 3


def test_weeks_of_downtime_are_made_up_for_by_one_run(world):
    world.write(INGEST_SCHEDULES, schedule())
    worker = world.start()
    world.move(days=1)
    world.work()
    world.stop(worker)

    world.move(days=17)
    world.start()
    world.work()

    assert len(world.runs()) == 2
    world.move(days=1)
    world.work()
    assert len(world.runs()) == 3


def test_a_restart_begins_no_run_again(world):
    """Goes red when `_due_run` no longer looks at what stands in the log."""
    world.write(INGEST_SCHEDULES, schedule())
    worker = world.start()
    world.move(days=1)
    world.work()
    for _ in range(3):
        world.stop(worker)
        worker = world.start()
        world.work()

    assert len(world.runs()) == 1


def test_a_run_whose_request_the_log_has_forgotten_is_known_by_its_end(world):
    """Requests are kept for a week, events for a month: goes red without `has_ended(ingest_id)` in `_due_run`."""
    world.write(INGEST_SCHEDULES, schedule(cron="0 0 1 * *"))
    worker = world.start()
    world.move(days=31)
    world.work()
    world.stop(worker)
    world.broker.delete_before(TopicPartition(INGEST_REQUESTS.name, PARTITION), 1)
    world.move(days=10)
    world.start()
    world.work()

    assert world.runs() == []
    assert len(world.ends()) == 1


def test_nothing_is_begun_before_the_partition_is_read_to_its_end(world):
    """Goes red when `Scheduler._current` lets every partition through."""
    world.write(INGEST_SCHEDULES, schedule())
    worker = world.start()
    world.move(days=1)
    world.work()
    world.stop(worker)
    log = IngestLog()
    follower = Follower(
        world.broker,
        topics=READ,
        topic_prefix="",
        apply=lambda incoming: (log.learn(incoming), scheduler.learn(incoming)),
        on_invalid=lambda message, error: None,
        clock=world.clock,
    )
    scheduler = Scheduler(broker=world.broker, follower=follower, log=log, clock=world.clock, service="ingestor")
    scheduler.take([PARTITION], 12)
    follower.assign({TopicPartition(topic.name, PARTITION): 0 for topic in READ})

    while follower.poll(0, 1):
        scheduler.turn()

    assert len(world.runs()) == 1
    world.move(days=1)
    scheduler.turn()
    assert len(world.runs()) == 2
    follower.close()


def test_what_comes_due_while_a_run_goes_on_waits_for_its_end(world):
    world.write(INGEST_SCHEDULES, schedule(cron="0 * * * *"))
    world.move(hours=1)
    worker = world.start()
    steps = worker.steps()
    for effect in steps:
        if effect == "after-turn" and world.runs():
            break
    [run] = world.runs()
    world.move(hours=5)
    for _ in range(3):
        owned(worker).follower.poll(0)
        owned(worker).scheduler.turn()
    assert len(world.runs()) == 1  # goes red without the look at `_last_run`

    for _ in steps:
        pass
    world.work()

    assert world.ends()[0] == run.ingest_id
    assert len(world.runs()) == 2  # five hours in one


def test_a_run_that_could_not_be_written_is_tried_again(world):
    """Goes red without `PartitionPlan.retry`."""
    world.write(INGEST_SCHEDULES, schedule())
    worker = world.start()
    world.work()
    world.move(days=1)
    world.network.is_failing = True
    owned(worker).follower.poll(0)
    with pytest.raises(TransientError):
        owned(worker).scheduler.turn()
    world.network.is_failing = False
    world.work()

    assert len(world.runs()) == 1
    assert len(world.ends()) == 1


def test_a_paused_schedule_begins_nothing_and_makes_up_for_nothing(world):
    world.write(INGEST_SCHEDULES, schedule())
    world.write(INGEST_SCHEDULES, schedule("schedule-2", is_paused=True))
    world.start()
    world.move(days=5)
    world.work()
    assert world.runs() == []
    assert world.plans()[-1] == RunPlanned(schedule_id="schedule-2", series_id=SERIES)

    world.write(INGEST_SCHEDULES, schedule("schedule-3"))
    world.work()
    assert world.runs() == []
    world.move(days=1)
    world.work()
    assert len(world.runs()) == 1


def test_the_plan_is_told_once_with_next_run_and_lateness(world):
    world.write(OBSERVATIONS, observation_batch(start=datetime(2024, 12, 30, tzinfo=UTC), rows=3))
    world.write(INGEST_SCHEDULES, schedule(jitter_seconds=60.0))
    worker = world.start()
    world.work()
    world.stop(worker)
    world.start()
    world.work()

    [plan] = world.plans()
    assert datetime(2025, 1, 3, tzinfo=UTC) <= plan.next_run <= datetime(2025, 1, 3, 0, 1, tzinfo=UTC)
    # The row of 2025-01-02 is missing, and complete at midnight.
    assert plan.late_from == datetime(2025, 1, 3, tzinfo=UTC)


def test_a_schedule_that_cannot_be_followed_says_why_and_disturbs_no_other(world):
    world.write(INGEST_SCHEDULES, schedule(series_id="shop/a@1d", cron="never"))
    world.write(INGEST_SCHEDULES, schedule(series_id="shop/b@1d", calendar="NOWHERE", after_close_minutes=1))
    world.write(INGEST_SCHEDULES, schedule(series_id="shop/c@1d", timezone="Mars/Olympus"))
    world.write(INGEST_SCHEDULES, schedule(series_id="shop/d@1d"))
    world.start()
    world.move(days=1)
    world.work()

    assert [run.series_id for run in world.runs()] == ["shop/d@1d"]
    reasons = {plan.series_id: plan.reason for plan in world.plans()}
    assert "'never'" in reasons["shop/a@1d"]
    assert "'NOWHERE'" in reasons["shop/b@1d"]
    assert "'Mars/Olympus'" in reasons["shop/c@1d"]
    assert reasons["shop/d@1d"] == ""


# --- several instances, crashes, rebalances ---------------------------------------------------------------------------


def test_two_instances_begin_each_run_once(world):
    series = [f"shop/s{number}@1d" for number in range(30)]
    for series_id in series:
        world.write(INGEST_SCHEDULES, schedule(series_id=series_id))
    world.start()
    world.start()
    world.work(10)
    world.move(days=1)
    world.work(40)
    first = world.workers[0]
    assert 0 < len(first.consumer.assignment()) < 24
    world.stop(first)
    world.work(20)
    world.move(days=1)
    world.work(40)

    runs = [run.ingest_id for run in world.runs()]
    assert len(runs) == len(set(runs)) == 60
    assert sorted(world.ends()) == sorted(runs)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cuts=st.lists(st.integers(1, 40), max_size=6))
def test_killed_between_any_two_effects_every_run_is_done_once(cuts):
    """Goes red when a run is begun without reading the log to its end, or is remembered before it is written."""
    world = Installation()
    world.write(INGEST_SCHEDULES, schedule())
    world.write(TRAINING_REQUESTS, training_request(as_of={str(PARTITION): 0}))
    world.write(INGEST_SCHEDULES, schedule("schedule-2", retrain=(RetrainRule(model=MODEL, every_observations=1),)))
    world.move(days=1)
    for cut in cuts:
        worker = world.start()
        effects = 0
        while effects < cut:
            for _ in worker.steps():
                effects += 1
                if effects >= cut:
                    break
        world.vanish(worker)
    world.start()
    world.work(12)

    ids = {run.ingest_id for run in world.runs()}
    trainings = {training.training_id for training in world.trainings()}
    assert len(ids) == 1
    assert world.ends() == list(ids)
    assert len(trainings) == 1


def test_two_that_begin_the_same_run_write_the_same_id_and_it_is_done_once(world):
    """An instance that does not know yet that it is out: goes red when the id names more than series and due time."""
    world.write(INGEST_SCHEDULES, schedule())
    zombie = world.start()
    world.work()
    world.move(days=1)
    scheduler = owned(zombie).scheduler
    late = scheduler._plans[PARTITION].due(world.clock.now())
    world.vanish(zombie)
    world.start()
    world.work(12)
    assert len(world.ends()) == 1

    scheduler._write(late)
    world.work(12)

    assert [run.ingest_id for run in world.runs()] == [late[0].ingest_id] * 2
    assert world.ends() == [late[0].ingest_id]


# --- trainings --------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(world: Installation) -> Callable[[int, int], None]:
    """A model trained on ten rows, and a way to append others."""

    def append(first: int, rows: int) -> None:
        world.write(
            OBSERVATIONS, observation_batch(start=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=first), rows=rows)
        )

    append(0, 10)
    request = training_request(as_of={str(PARTITION): 1}, algorithm="theta", horizon=7, seed=3)
    world.write(TRAINING_REQUESTS, request)
    return append


def test_a_model_is_trained_again_after_so_many_observations(world, trained):
    world.write(INGEST_SCHEDULES, schedule(retrain=(RULE,)))
    world.start()
    trained(10, 2)
    trained(5, 5)  # restated or repeated rows are not new
    world.work()
    assert world.trainings() == []

    trained(12, 1)
    world.work()

    [training] = world.trainings()
    assert (training.model, training.algorithm, training.horizon, training.seed) == (MODEL, "theta", 7, 3)
    assert (training.cause, training.as_of) == ("observations", {str(PARTITION): 4})


def test_the_count_begins_again_with_each_training(world, trained):
    """Goes red when the next training keeps the `as_of` of the last one."""
    world.write(INGEST_SCHEDULES, schedule(retrain=(RULE,)))
    worker = world.start()
    trained(10, 4)
    world.work()
    world.stop(worker)
    world.start()
    world.work()
    trained(14, 2)
    world.work()
    assert len(world.trainings()) == 1

    world.write(TRAINING_REQUESTS, training_request("by-hand", as_of={str(PARTITION): 3}))
    trained(16, 2)
    world.work()
    assert len(world.trainings()) == 1  # a person had it trained meanwhile
    trained(18, 1)
    world.work()
    assert len(world.trainings()) == 2


def test_a_model_is_trained_again_by_the_clock_once_a_due_time(world, trained):
    rule = RetrainRule(model=MODEL, cron="0 3 * * 0")
    world.write(INGEST_SCHEDULES, schedule(retrain=(rule,)))
    worker = world.start()
    world.move(days=2)
    world.work()
    assert world.trainings() == []
    world.move(days=16)  # over two Sundays
    world.work()
    world.stop(worker)
    world.start()
    world.work()

    [training] = world.trainings()
    assert (training.cause, training.as_of[str(PARTITION)]) == ("schedule", ends(world)[PARTITION])


def test_a_model_that_nobody_has_trained_is_not_trained_again(world):
    world.write(INGEST_SCHEDULES, schedule(retrain=(RULE, RetrainRule(model="shop/other", cron="* * * * *"))))
    world.write(TRAINING_REQUESTS, training_request(series_ids=("shop/plums@1d",), model="shop/other"))
    world.write(OBSERVATIONS, observation_batch())
    world.start()
    world.move(days=1)
    world.work()

    assert world.trainings() == []


def ends(world: Installation) -> list[int]:
    places = [TopicPartition(OBSERVATIONS.name, number) for number in range(12)]
    found = world.broker.end_offsets(places)
    return [found[place] for place in places]
