"""A log, a trainer's core and its jobs, driven step by step; everything but the log is lost in a crash."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.codec import record_id
from schemas.models import Deployment, ModelReleased
from schemas.record import Record
from schemas.topics import DEPLOYMENTS, MODELS
from schemas.trainings import FINAL_TRAINING_STATES, TrainingCancelRequested, TrainingEvent, TrainingRequested
from trainer.core import Start, Trainer
from trainer.jobs import Died, Job, JobEvent, Progressed, Recorded, Refused, Trained

STEPS = 3


def request(training_id: str, *, series: str = "market/AAPL@1d", **changes: object) -> TrainingRequested:
    fields: dict[str, object] = {
        "training_id": training_id,
        "model": "market/AAPL-1d",
        "series_ids": (series,),
        "algorithm": "drift",
        "as_of": {"0": 1},
    }
    return TrainingRequested(**(fields | changes))  # type: ignore[arg-type]


def cancel(training_id: str, *, reason: str = "") -> TrainingCancelRequested:
    return TrainingCancelRequested(training_id=training_id, series_id="market/AAPL@1d", reason=reason)


def release(of: TrainingRequested) -> ModelReleased:
    version = record_id(of)[:16]
    return ModelReleased(
        model=of.model,
        version=version,
        training_id=of.training_id,
        algorithm=of.algorithm,
        series_ids=of.series_ids,
        target=of.target,
        columns=("close",),
        freq="1d",
        calendar="XNYS",
        window_size=of.window_size,
        horizon=of.horizon,
        levels=of.levels,
        recipe={"algorithm": of.algorithm},
        artefact_digest=version * 4,
        metrics={"model": {"mae": 1.5}, "last-value": {"mae": 2.0}},
        skill={"last-value": 0.25},
        folds=3,
        as_of=of.as_of,
        data_digest="0" * 64,
        seed=of.seed,
        code_version="0",
    )


def job_events(job: Job) -> list[JobEvent]:
    """Return what a job reports from start to end; a training whose id starts with ``bad`` is refused."""
    training_id = job.request.training_id
    recorded = Recorded(training_id=training_id, run_id=f"run-{training_id}")
    if job.release_offset is not None:
        return [recorded]
    progress: list[JobEvent] = [
        Progressed(training_id=training_id, index=index, stage="fitting", fraction=index / STEPS)
        for index in range(STEPS)
    ]
    if training_id.startswith("bad"):
        return [*progress, Refused(training_id=training_id, reason="horizon must be <= 5, was 10")]
    return [*progress, Trained(training_id=training_id, release=release(job.request)), recorded]


@dataclass
class World:
    """One member of the group; partitions 0 and 1."""

    parallel: int = 1
    max_attempts: int = 3
    requests: dict[int, list[tuple[int, Record]]] = field(default_factory=lambda: {0: [], 1: []})
    committed: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    #: Everything that the trainer published, in order, each with its topic's name.
    log: list[tuple[str, Record]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin as a new process does: learn the log, take the partitions, read from the committed offsets."""
        self.core = Trainer(
            parallel_trainings=self.parallel, max_attempts=self.max_attempts, read_ahead=100, records_runs=True
        )
        self.jobs: dict[str, list[JobEvent]] = {}
        self._take_partitions()

    def _take_partitions(self) -> None:
        for offset, (_, record) in enumerate(self.log):
            self.core.learn(record, offset)
        self.core.assigned([0, 1])
        self.position = dict(self.committed)

    def rebalance(self) -> None:
        self.core.revoked([0, 1])
        self._take_partitions()

    def append(self, partition: int, record: Record, *, gap: int = 0) -> None:
        entries = self.requests[partition]
        entries.append(((entries[-1][0] + 1 if entries else 0) + gap, record))

    def read(self, partition: int) -> bool:
        for offset, record in self.requests[partition]:
            if offset >= self.position[partition]:
                self.position[partition] = offset + 1
                self.core.receive(partition, offset, record)
                return True
        return False

    def obey(self) -> None:
        for order in self.core.orders():
            if isinstance(order, Start):
                training_id = order.job.request.training_id
                assert training_id not in self.jobs, "a training is started once at a time"
                self.jobs[training_id] = job_events(order.job)
                assert len(self.jobs) <= self.parallel
            else:
                self.jobs.pop(order.training_id, None)

    def work(self) -> bool:
        """Let the first job report once."""
        self.obey()
        for training_id, events in self.jobs.items():
            event = events.pop(0)
            if not events:
                del self.jobs[training_id]
            self.core.on_job(event)
            return True
        return False

    def advance(self) -> bool:
        """Do one thing that is there to do."""
        return self.publish() or self.work() or self.read(0) or self.read(1)

    def kill_job(self) -> None:
        if self.jobs:
            training_id = next(iter(self.jobs))
            del self.jobs[training_id]
            self.core.on_job(Died(training_id=training_id, reason="killed by signal 9"))

    def publish(self, *, acknowledged: bool = True) -> bool:
        outgoing = self.core.outgoing()
        if outgoing is None:
            return False
        self.log.append((outgoing.topic.name, outgoing.record))
        if acknowledged:
            self.core.sent()
        return True

    def echo(self) -> None:
        """Let the core read what it has written itself."""
        for offset, (_, record) in enumerate(self.log):
            self.core.learn(record, offset)

    def commit(self) -> None:
        self.committed |= self.core.committable()

    def drain(self) -> None:
        """Go on without faults until nothing is left to do."""
        while self.advance():
            pass
        self.commit()

    def events(self, training_id: str) -> list[TrainingEvent]:
        """Return the events of a training as a reader sees them that drops repeats by id."""
        found = {record_id(record): record for _, record in self.log if isinstance(record, TrainingEvent)}
        return [event for event in found.values() if event.training_id == training_id]

    def ends(self, training_id: str) -> list[TrainingEvent]:
        return [event for event in self.events(training_id) if event.state in FINAL_TRAINING_STATES]

    def check_commits(self) -> None:
        """Nothing below a committed offset may be unfinished."""
        for partition, entries in self.requests.items():
            for offset, record in entries:
                if offset < self.committed[partition] and isinstance(record, TrainingRequested):
                    assert self.ends(record.training_id), f"{record.training_id} is committed and has not ended"

    def check_ends(self) -> None:
        """Each training has ended exactly once, with its release and deployment exactly if it succeeded."""
        asked = {
            record.training_id: record
            for entries in self.requests.values()
            for _, record in entries
            if isinstance(record, TrainingRequested)
        }
        for training_id, wish in asked.items():
            (end,) = self.ends(training_id)
            releases = [r for t, r in self.log if t == MODELS.name and r.training_id == training_id]  # type: ignore[attr-defined]
            deployments = [
                r
                for t, r in self.log
                if isinstance(r, Deployment) and training_id in r.reason.split() and t == DEPLOYMENTS.name
            ]
            has_succeeded = end.state == "succeeded"
            assert {record_id(one) for one in releases} == ({record_id(release(wish))} if has_succeeded else set())
            assert len({one.deployment_id for one in deployments}) == has_succeeded
            assert end.version == (release(wish).version if has_succeeded else None)
            told = [event.state for event in self.events(training_id)]
            assert told.count("queued") == 1
            assert told.count("running") <= 1
            sequences = [event.sequence for event in self.events(training_id)]
            assert sequences == list(range(len(sequences))), "sequences count from 0 without a gap"
