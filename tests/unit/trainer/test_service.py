"""The shell on the in-memory broker: crashes between any two effects, junk, outages, two members."""

from __future__ import annotations

from itertools import count

import pytest

from forecasting.training import TrainedModel
from runtime.broker import OutgoingMessage, partition_for
from runtime.errors import TooManyDeadLetters
from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from schemas.dead_letters import DeadLetter
from schemas.models import Deployment, ModelReleased
from schemas.topics import DEAD_LETTERS, DEPLOYMENTS, MODELS, OBSERVATIONS, TRAINING_EVENTS, TRAINING_REQUESTS
from schemas.trainings import FINAL_TRAINING_STATES, TrainingEvent, TrainingRequested
from tests.factories import SERIES, observation_batch, training_cancel_request, training_event, training_request
from tests.fakes import ManualClock
from tests.unit.trainer.member import Log, crash, new_trainer, turn, wave, work_until_ended
from trainer.jobs import Recorded
from trainer.metrics import TrainerMetrics


class Notebook:
    """Records runs in a list."""

    def __init__(self) -> None:
        self.runs: list[str] = []

    def record(self, request: TrainingRequested, release: ModelReleased, trained: TrainedModel | None) -> Recorded:
        self.runs.append(release.training_id)
        return Recorded(training_id=request.training_id, run_id=f"run-{release.version}")


def ends(log: Log) -> list[TrainingEvent]:
    events = log.records(TRAINING_EVENTS, TrainingEvent)
    return [event for event in events if event.state in FINAL_TRAINING_STATES]


def test_request_ends_in_a_release_and_a_first_deployment(broker: MemoryBroker) -> None:
    log = Log(broker)
    log.request(as_of=log.history())

    work_until_ended(new_trainer(broker), log, "training-1")

    (release,) = log.records(MODELS, ModelReleased)
    (deployment,) = log.records(DEPLOYMENTS, Deployment)
    assert deployment.version == release.version
    assert [end.state for end in ends(log)] == ["succeeded"]
    assert log.committed() == 1


def test_ends_are_counted(broker: MemoryBroker) -> None:
    log, metrics = Log(broker), TrainerMetrics()
    as_of = log.history()
    log.request("training-1", as_of=as_of)
    log.request("training-2", as_of=as_of, algorithm="crystal-ball")

    work_until_ended(new_trainer(broker, metrics=metrics), log, "training-1", "training-2")

    text = metrics.text().decode()
    assert 'foretopic_trainings_total{state="succeeded"} 1.0' in text
    assert 'foretopic_trainings_total{state="failed"} 1.0' in text
    assert "foretopic_trainings_running 0.0" in text


def test_same_request_over_the_same_prefix_releases_the_same_bytes() -> None:
    values = []
    for _ in range(2):
        broker = MemoryBroker(ManualClock())
        broker.ensure_topics(specs())
        log = Log(broker)
        as_of = log.history()
        log.history(rows=250)
        log.request(as_of=as_of)
        work_until_ended(new_trainer(broker), log, "training-1")
        values.append(log.records(MODELS, ModelReleased))

    assert values[0] == values[1]


def test_crash_between_any_two_effects_ends_the_training_once() -> None:
    # Red when `Trainer` starts what has a release in the ledger, or `_commit` runs before `_publish`.
    runs_before_crash = []
    for crash_at in count():
        broker = MemoryBroker(ManualClock())
        broker.ensure_topics(specs())
        log, notebook = Log(broker), Notebook()
        # Few rows: it is trained some hundred times.
        log.request(as_of=log.history(rows=60))
        first = new_trainer(broker, notebook)
        effects = (effect for _ in range(20) for effect in first.steps())
        if sum(1 for _, _ in zip(range(crash_at), effects, strict=False)) < crash_at:
            break
        crash(broker, first)
        runs_before_crash.append(len(log.records(MODELS, ModelReleased)))

        work_until_ended(new_trainer(broker, notebook), log, "training-1")

        (end,) = ends(log)
        assert end.state == "succeeded"
        assert end.mlflow_run_id == f"run-{end.version}"
        assert len(log.records(MODELS, ModelReleased)) == 1
        assert len(log.records(DEPLOYMENTS, Deployment)) == 1
        assert log.committed() == 1

    assert len(runs_before_crash) > 30, "the crashes went through the whole training"
    assert {0, 1} <= set(runs_before_crash), "some came before the release and some after it"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"algorithm": "crystal-ball"}, "unknown-algorithm: algorithm must be"),
        ({"target": "volume"}, "unknown-column"),
        ({"hyperparameters": {"depth": 3}}, "unknown-hyperparameter: "),
        ({"algorithm": "lstm", "hyperparameters": {"epochs": -1}}, "invalid-hyperparameter: "),
        ({"horizon": 900}, "too-little-history: "),
        (
            {"series_ids": ("shop/pears@1d",), "as_of": {str(n): 0 for n in range(12)}},
            "unknown-series: series_ids must be",
        ),
        ({"as_of": {}}, "as-of-missing: as_of must be an end offset for partition"),
        ({"as_of": {str(n): 99 for n in range(12)}}, "as-of-beyond-log: as_of must be at most 1, the end of partition"),
    ],
)
def test_training_that_cannot_be_fails_with_the_field_and_what_was_found(
    broker: MemoryBroker, changes: dict[str, object], reason: str
) -> None:
    log = Log(broker)
    as_of = log.history()
    log.request(**({"as_of": as_of} | changes))

    work_until_ended(new_trainer(broker), log, "training-1")

    (end,) = ends(log)
    assert end.state == "failed"
    assert reason in end.reason
    assert not log.records(MODELS, ModelReleased)
    assert not log.records(DEPLOYMENTS, Deployment)


def history_of(log: Log, rows: int, **columns: object) -> dict[str, int]:
    """Write a history with other columns and return the ``as_of`` that pins it."""
    made = wave(rows) | {name: tuple(values) for name, values in columns.items()}  # type: ignore[arg-type]
    partition, offset = log.write(OBSERVATIONS, observation_batch(rows=rows, columns=made))
    return {str(partition): offset + 1}


@pytest.mark.parametrize(
    ("columns", "changes", "reason"),
    [
        (
            {"close": [7.0] * 200},
            {},
            "constant-series: observations.shop/apples@1d.close must be a target that changes",
        ),
        ({"close": [None] * 200}, {}, "empty-column: observations.shop/apples@1d.close must be a column with a value"),
        ({"volume": [-1.0] * 200}, {"columns": ("close", "volume")}, "negative-volume: "),
        ({"open": [0.0] * 200}, {"columns": ("close", "open")}, "not-positive: "),
        ({"size": range(200)}, {"covariates": {"size": "static"}}, "static-varies: "),
        ({}, {"covariates": {"promo": "known-future"}}, "unknown-column: covariates.promo must be one of the columns"),
        ({"close": [1.0 + row % 7 if row % 9 else None for row in range(200)]}, {"gaps": "refuse"}, "missing-obs"),
    ],
)
def test_observations_that_should_not_be_learnt_from_fail_the_training(
    broker: MemoryBroker, columns: dict[str, object], changes: dict[str, object], reason: str
) -> None:
    log, notebook = Log(broker), Notebook()
    log.request(as_of=history_of(log, 200, **columns), **changes)

    work_until_ended(new_trainer(broker, notebook), log, "training-1")

    _assert_failed(log, notebook, reason)


@pytest.mark.parametrize("algorithm", ["lstm", "nhits"])
@pytest.mark.parametrize("is_wild", [True, False])
def test_training_that_diverges_fails_and_reaches_neither_models_nor_runs(
    broker: MemoryBroker, algorithm: str, is_wild: bool
) -> None:
    """A loss that is not a number, or one that explodes. Red where `_Fit.run` lets either pass."""
    log, notebook = Log(broker), Notebook()
    wild = [0.0 if row < 275 else 1e35 * (-1) ** row for row in range(300)]
    settings = {"layers": "32", "epochs": 2, "refits": 1} | ({} if is_wild else {"learning_rate": 1000.0})
    as_of = history_of(log, 300, **({"close": wild} if is_wild else {}))
    log.request(as_of=as_of, algorithm=algorithm, hyperparameters=settings, window_size=10, horizon=3)

    work_until_ended(new_trainer(broker, notebook), log, "training-1")

    _assert_failed(log, notebook, "diverged-training: loss must be ")


def _assert_failed(log: Log, notebook: Notebook, reason: str) -> None:
    (end,) = ends(log)
    assert end.state == "failed"
    assert end.reason.startswith(reason)
    assert not log.records(MODELS, ModelReleased)
    assert not log.records(DEPLOYMENTS, Deployment)
    assert notebook.runs == []


def test_short_history_is_trained_by_a_simpler_model_and_said_so(broker: MemoryBroker) -> None:
    log, trainer = Log(broker), new_trainer(broker, Notebook())
    as_of = log.history(rows=17)
    log.request(as_of=as_of, algorithm="linear", horizon=3)

    work_until_ended(trainer, log, "training-1")

    (release,) = log.records(MODELS, ModelReleased)
    (end,) = ends(log)
    assert (release.algorithm, release.fallback_from) == ("seasonal-naive", "linear")
    assert release.fallback_reason.startswith("linear needs at least ")
    assert release.calibration_folds > release.folds
    assert (end.state, end.reason) == ("succeeded", release.fallback_reason)

    log.request("training-2", as_of=as_of, algorithm="linear", horizon=3, fallback=False)
    work_until_ended(trainer, log, "training-2")
    assert ends(log)[-1].reason.startswith("too-little-history: ")


def test_series_with_too_many_rows_fails(broker: MemoryBroker) -> None:
    log = Log(broker)
    as_of = {}
    for part in range(3):
        as_of = log.history(rows=4_000 + part)
    log.request(as_of=as_of)

    work_until_ended(new_trainer(broker), log, "training-1")

    assert "too-many-observations: series_ids must be series of at most 10000 rows together" in ends(log)[0].reason


def test_waiting_training_is_cancelled(broker: MemoryBroker) -> None:
    log = Log(broker)
    as_of = log.history()
    log.request("training-1", as_of=as_of)
    log.request("training-2", as_of=as_of)
    log.write(TRAINING_REQUESTS, training_cancel_request("training-2", reason="not needed"))

    work_until_ended(new_trainer(broker), log, "training-1", "training-2")

    states = {end.training_id: (end.state, end.reason) for end in ends(log)}
    assert states["training-2"] == ("cancelled", "not needed")
    assert states["training-1"][0] == "succeeded"
    assert log.committed() == 3


def junk(**changes: object) -> OutgoingMessage:
    values: dict[str, object] = {
        "topic": TRAINING_REQUESTS.name,
        "key": SERIES.encode(),
        "value": b"\xff",
        "headers": (),
    }
    return OutgoingMessage(**(values | changes))  # type: ignore[arg-type]


def test_junk_becomes_a_dead_letter_and_the_next_request_is_served(broker: MemoryBroker) -> None:
    log = Log(broker)
    as_of = log.history()
    producer = broker.producer()
    producer.send(junk()).result(1)
    producer.send(junk(value=None)).result(1)
    log.request(as_of=as_of)

    work_until_ended(new_trainer(broker), log, "training-1")

    # By offset: letters of two messages lie in two partitions, between which there is no order.
    letters = sorted(log.records(DEAD_LETTERS, DeadLetter), key=lambda letter: letter.offset)
    assert [(letter.topic, letter.offset, letter.value) for letter in letters] == [
        ("training-requests", 0, b"\xff"),
        ("training-requests", 1, None),
    ]
    assert log.committed() == 3


def test_request_in_the_wrong_partition_is_refused(broker: MemoryBroker) -> None:
    log = Log(broker)
    right = partition_for(SERIES.encode(), 12)
    log.write(TRAINING_REQUESTS, training_request(as_of=log.history()), partition=(right + 1) % 12)

    trainer = new_trainer(broker)
    turn(trainer)

    (letter,) = log.records(DEAD_LETTERS, DeadLetter)
    assert letter.reason.startswith(f"wrong-partition: the key belongs to partition {right}")
    assert log.committed() == 1


def test_other_request_under_a_known_id_is_a_dead_letter(broker: MemoryBroker) -> None:
    log = Log(broker)
    as_of = log.history()
    log.request(as_of=as_of)
    log.request(as_of=as_of, seed=7)

    work_until_ended(new_trainer(broker), log, "training-1")

    (letter,) = log.records(DEAD_LETTERS, DeadLetter)
    assert "already stands for another request" in letter.reason
    assert log.committed() == 2


def test_nothing_but_junk_stops_the_trainer(broker: MemoryBroker) -> None:
    producer = broker.producer()
    for _ in range(1_001):
        producer.send(junk()).result(1)
    trainer = new_trainer(broker)

    with pytest.raises(TooManyDeadLetters):
        work_until_ended(trainer, Log(broker), "none")


@pytest.mark.parametrize(
    "effect", ["before-poll", "before-learn", "before-publish", "before-acknowledge", "before-commit"]
)
def test_outage_at_any_effect_is_waited_out(broker: MemoryBroker, effect: str) -> None:
    log = Log(broker)
    as_of = log.history()
    broker.producer().send(junk()).result(1)
    log.request(as_of=as_of)
    trainer = new_trainer(broker)
    has_failed = False
    for _ in range(30):
        for found in trainer.steps():
            if found == effect and not has_failed:
                broker.stop_answering()
            if found == "before-back-off":
                has_failed = True
                broker.answer_again()
        broker.answer_again()

    assert has_failed or effect == "before-acknowledge"
    assert [end.state for end in ends(log)] == ["succeeded"]
    assert len(log.records(DEAD_LETTERS, DeadLetter)) == 1
    assert log.committed() == 2


def test_second_member_ends_what_the_first_began(broker: MemoryBroker) -> None:
    log = Log(broker)
    as_of = log.history()
    first = new_trainer(broker)
    log.request(as_of=as_of)
    for _ in range(4):
        turn(first)
    second = new_trainer(broker)
    for _ in range(40):
        turn(first)
        turn(second)
    crash(broker, first)
    work_until_ended(second, log, "training-1")

    assert [end.state for end in ends(log)] == ["succeeded"]
    assert len(log.records(MODELS, ModelReleased)) == 1
    assert log.committed() == 1


def test_a_long_past_is_learnt_before_a_request_is_looked_at(broker: MemoryBroker) -> None:
    """Red without `catch_up` in `_Trainings.learn`: a poll takes 500 messages, and the end of the training is the last."""
    log = Log(broker)
    for sequence in range(600):
        log.write(TRAINING_EVENTS, training_event("training-before", sequence=sequence, state="progress"))
    log.write(TRAINING_EVENTS, training_event("training-1", sequence=5, state="failed", reason="told before"))
    log.request("training-1", as_of=log.history())

    trainer = new_trainer(broker)
    for _ in range(20):
        turn(trainer)

    events = log.records(TRAINING_EVENTS, TrainingEvent)
    assert [event.state for event in events if event.training_id == "training-1"] == ["failed"]
    assert log.committed() == 1


def test_full_partition_is_paused_until_its_trainings_end(broker: MemoryBroker) -> None:
    log = Log(broker)
    as_of = log.history()
    names = [f"training-{number}" for number in range(6)]
    trainer = new_trainer(broker, read_ahead=2)
    log.request(names[0], as_of=as_of)
    turn(trainer)
    for name in names[1:3]:
        log.request(name, as_of=as_of)
    turn(trainer)
    for name in names[3:]:
        log.request(name, as_of=as_of)
    turn(trainer)
    told = {event.training_id for event in log.records(TRAINING_EVENTS, TrainingEvent)}
    assert told == set(names[:3])

    work_until_ended(trainer, log, *names)
    assert log.committed() == 6


def test_closed_trainer_tells_nothing_of_what_it_was_doing(broker: MemoryBroker) -> None:
    log = Log(broker)
    log.request(as_of=log.history())
    trainer = new_trainer(broker)
    for _ in range(3):
        turn(trainer)
    trainer.close()
    assert not ends(log)
    assert log.committed() == 0

    work_until_ended(new_trainer(broker), log, "training-1")

    assert [end.state for end in ends(log)] == ["succeeded"]
