"""The whole system on one broker, run by a scheduler that draws every choice from one seed."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from schemas.topics import COPARTITIONED, FORECASTS, INGEST_EVENTS, TRAINING_EVENTS
from tests.fakes import ManualClock
from tests.simulation import processes
from tests.simulation.client import Client
from tests.simulation.cluster import ProcessBroker
from tests.simulation.invariants import Invariants, Violation
from tests.simulation.market import Market
from tests.simulation.series import PARTITIONS
from tests.simulation.weather import StormyNetwork

Build = Callable[[ProcessBroker, ManualClock], processes.Steps]

#: Effects in stormy weather, and how many more it may take until everything has ended in calm weather.
STORM_EFFECTS, CALM_EFFECTS = 450, 20_000
_CONSUMED = {
    "ingestor": ("ingest-requests",),
    "trainer": ("training-requests",),
    "predictor": ("forecast-requests", "observations"),
}


@dataclass
class Process:
    """A process that is killed between two effects and started again."""

    name: str
    build: Build
    broker: ProcessBroker | None = None
    service: processes.Steps | None = None
    cycle: Iterator[str] | None = None
    #: Cycles in a row without a message, while nothing is wrong.
    last_effect: str = ""
    cycles: int = 0


@dataclass
class World:
    """One run of the system.

    Attributes:
        trace: Every effect in order; a seed always gives the same one.
    """

    seed: int
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.clock = ManualClock()
        self.network = StormyNetwork(self.rng)
        self.broker = MemoryBroker(self.clock, network=self.network)
        shared = {topic.name for topic in (*COPARTITIONED, INGEST_EVENTS, TRAINING_EVENTS)}
        self.broker.ensure_topics(
            type(spec)(**{**_fields(spec), "partitions": PARTITIONS if spec.name in shared else 1}) for spec in specs()
        )
        self.client = Client(self.rng)
        self.market = Market(self.rng)
        self.invariants = Invariants(self.broker)
        self.processes = [
            Process("gateway-1", self.client.process),
            Process("gateway-2", self.client.process),
            Process("ingestor-1", partial(processes.ingestor, self.market)),
            Process("ingestor-2", partial(processes.ingestor, self.market)),
            Process("trainer-1", processes.trainer),
            Process("trainer-2", processes.trainer),
            Process("predictor-1", processes.PredictorProcess),
            Process("predictor-2", processes.PredictorProcess),
        ]
        #: What was running in killed processes: kept, since dropping a generator would run its `finally`.
        self._graveyard: list[object] = []
        #: Killed processes whose session has not run out yet: their groups still count on them.
        self._ghosts: list[ProcessBroker] = []

    def run(self) -> None:
        """Storm, then calm, then judge the end.

        Raises:
            Violation: An invariant broke; the message names the seed and the step.
        """
        try:
            self._storm()
            hung = {entry.split("-")[0] for entry in self.trace if entry.endswith(" expired")}
            self._calm()
            self.invariants.check_end(self.client.acknowledged, has_zombies="trainer" in hung)
            self.invariants.check_series(has_zombies="ingestor" in hung)
            self.invariants.check_replay()
        except Violation as error:
            error.add_note(f"seed {self.seed}, effect {len(self.trace)}: {', '.join(self.trace[-6:])}")
            raise

    def digest(self) -> str:
        """Return a digest of the trace and of every byte in the log."""
        summary = hashlib.sha256("\n".join(self.trace).encode())
        for partition, log in sorted(self.broker.logs.items()):
            for message in log.read(0, log.end):
                summary.update(f"{partition}{message.offset}".encode() + (message.key or b"") + (message.value or b""))
        return summary.hexdigest()

    def summary(self) -> Counter[str]:
        """Return how often things happened."""
        book = self.invariants.ledger
        answers = sum(log.end for place, log in self.broker.logs.items() if place.topic == FORECASTS.name)
        return Counter(
            {
                "forecasts": sum(b'"forecast_id"' in value for value in book.answers.values()),
                "refusals": sum(b'"forecast_id"' not in value for value in book.answers.values()),
                "repeated answers": answers - len(book.answers),
                "second pins": self.invariants.repeated_pins,
                "misplaced": self.invariants.misplaced,
                "releases": len(book.releases),
                "dead letters": len(book.buried),
                "kills": sum(entry.endswith(" killed") for entry in self.trace),
                "expiries": sum(entry.endswith(" expired") for entry in self.trace),
            }
        )

    def _storm(self) -> None:
        for _ in range(STORM_EFFECTS):
            process = self.rng.choice(self.processes)
            chance = self.rng.random()
            if chance < 0.015:
                self._kill(process)
            elif chance < 0.025 and process.broker is not None:
                process.broker.expire()  # it hangs too long, lives on, and finds out later
                self.trace.append(f"{process.name} expired")
            elif chance < 0.15:
                self.network.drift()
            elif chance < 0.18 and self._ghosts:
                self._bury(self._ghosts.pop())
            self._advance(process)
            self.invariants.check()

    def _calm(self) -> None:
        self.network.is_calm = True
        workers = [
            process for process in self.processes if process.name.startswith(("ingestor", "trainer", "predictor"))
        ]
        for process in self.processes:
            self._kill(process)
        for ghost in self._ghosts:
            self._bury(ghost)
        self.network.settle()
        for _ in self.client.process(ProcessBroker(self.broker), self.clock).repeat_unacknowledged():
            pass
        for _ in range(CALM_EFFECTS):
            ends = [log.end for log in self.broker.logs.values()]
            for process in workers:
                target = process.cycles + 3
                while process.cycles < target:
                    self._advance(process)
            self.invariants.check()
            if ends == [log.end for log in self.broker.logs.values()] and self._all_is_read():
                return
        raise Violation("comes-to-rest", "the system did not come to rest in calm weather")

    def _all_is_read(self) -> bool:
        for group, names in _CONSUMED.items():
            places = [place for place in self.broker.logs if place.topic in names]
            committed = self.broker.committed(group, places)
            if any(committed.get(place, 0) < self.broker.logs[place].end for place in places):
                return False
        return True

    def _advance(self, process: Process) -> None:
        if process.service is None or process.broker is None:
            process.broker = ProcessBroker(self.broker)
            process.service = process.build(process.broker, self.clock)
        if process.cycle is None:
            process.cycle = process.service.steps()
        try:
            effect = next(process.cycle)
        except StopIteration:
            process.cycle = None
            process.cycles += 1
            effect = "rest"
        self.trace.append(f"{process.name} {effect}")

    def _kill(self, process: Process) -> None:
        """End a process as ``kill -9`` does; its group notices when its session has run out."""
        self.trace.append(f"{process.name} killed")
        self._graveyard += [process.service, process.cycle]
        if process.broker is not None:
            self._ghosts.append(process.broker)
        process.service = process.cycle = process.broker = None

    def _bury(self, ghost: ProcessBroker) -> None:
        """Let the session of a killed process run out; by then nothing of it is on its way any more."""
        self.network.end(ghost.unsettled())
        ghost.expire()


def _fields(spec: object) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}  # type: ignore[attr-defined]
