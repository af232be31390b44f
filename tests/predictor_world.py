"""Models that can really be served, and a small log that feeds a `Predictor`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from forecasting.artefact import Artefact, IntervalRecipe, Recipe, VolatilityRecipe, recipe_to_json
from predictor.asks import Decision
from predictor.core import Predictor
from runtime.broker import TopicPartition
from runtime.incoming import Incoming
from schemas.codec import encode
from schemas.forecasts import ForecastIssued, ForecastRefused
from schemas.models import ModelReleased
from schemas.record import Record
from schemas.topics import FORECAST_REQUESTS, FORECASTS, MODELS, OBSERVATIONS, PARTITIONS, Topic
from tests import factories

WINDOW = 5


def recipe(**changes: Any) -> Recipe:
    """Return a recipe that needs no graph: drift over five rows, steps up to ten."""
    values: dict[str, Any] = {
        "algorithm": "drift",
        "target": "close",
        "columns": ("close",),
        "freq": "1d",
        "calendar": "24/7",
        "season_length": 7,
        "window_size": WINDOW,
        "horizon": 10,
        "transform": "log-return",
        "volatility": VolatilityRecipe(decay=0.94, shrinkage=0.1, long_run=0.01),
        "drift": 0.001,
    }
    values.update(changes)
    scores = tuple(tuple(-2.0 + 0.1 * fold for fold in range(41)) for _ in range(values["horizon"]))
    values.setdefault("intervals", IntervalRecipe(is_symmetric=False, scores=scores))
    return Recipe(**values)


def release(made: Recipe | None = None, graph: bytes | None = None, **changes: Any) -> ModelReleased:
    """Return the release of a recipe; its version is that of the artefact."""
    made = made or recipe()
    artefact = Artefact(made, graph)
    return factories.model_release(
        **{
            "version": artefact.version,
            "artefact_digest": artefact.digest,
            "algorithm": made.algorithm,
            "target": made.target,
            "columns": made.columns,
            "freq": made.freq,
            "calendar": made.calendar,
            "window_size": made.window_size,
            "horizon": made.horizon,
            "recipe": recipe_to_json(made),
            "graph": graph,
            **changes,
        }
    )


def champion(of: ModelReleased, deployment_id: str = "deployment-1", **changes: Any) -> Record:
    return factories.deployment(model=of.model, version=of.version, deployment_id=deployment_id, **changes)


def day_after(rows: int, **changes: Any) -> Record:
    """Return one more observation behind ``rows`` daily ones."""
    start: datetime = factories.START + timedelta(days=rows)
    return factories.observation_batch(start=start, rows=1, kind="append", **changes)


@dataclass
class World:
    """A log in memory: `write` appends to it, and the predictor learns as far as `positions` says."""

    predictor: Predictor = field(init=False)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    log: dict[TopicPartition, list[Incoming]] = field(default_factory=lambda: defaultdict(list))
    answered_limit: int = 1_000

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin again with an empty predictor that has read nothing."""
        self.positions = {}
        self.predictor = Predictor(
            partitions=PARTITIONS, positions=lambda: self.positions, answered_limit=self.answered_limit
        )

    def write(self, topic: Topic, record: Record, partition: int | None = None) -> Incoming:
        """Append a record without anybody reading it."""
        made = factories.incoming(topic, record, partition=partition)
        source = TopicPartition(made.message.topic, made.message.partition)
        placed = factories.incoming(topic, record, offset=len(self.log[source]), partition=source.partition)
        self.log[source].append(placed)
        return placed

    def read(self, *topics: Topic) -> None:
        """Let the predictor learn the topics to their ends."""
        for source, entries in self.log.items():
            if source.topic in {topic.name for topic in topics}:
                for entry in entries[self.positions.get(source, 0) :]:
                    self.predictor.apply(entry)
                self.positions[source] = len(entries)

    def learn(self, topic: Topic, *records: Record) -> list[Incoming]:
        """Append records and let the predictor learn them."""
        written = [self.write(topic, record) for record in records]
        self.read(topic)
        return written

    def end(self, topic: Topic, partition: int = 0) -> int:
        return len(self.log[TopicPartition(topic.name, partition)])

    def ask(self, *requests: Record) -> list[Decision]:
        """Append requests and decide on them together."""
        return self.predictor.decide([self.write(FORECAST_REQUESTS, request) for request in requests])

    def answers(self, *requests: Record) -> list[ForecastIssued | ForecastRefused]:
        """Return the answers to requests; those without ``as_of`` are pinned first."""
        found: list[ForecastIssued | ForecastRefused] = []
        decisions = self.ask(*requests)
        while decisions:
            following = []
            for decision in decisions:
                assert decision.outgoing is not None, decision
                record = decision.outgoing.record
                if isinstance(record, ForecastIssued | ForecastRefused):
                    self.write(FORECASTS, record, decision.outgoing.partition)
                    found.append(record)
                else:
                    following.append(record)
            decisions = self.ask(*following) if following else []
        return found

    def answer(self, request: Record) -> Any:
        (answer,) = self.answers(request)
        return answer


def observed(world: World, rows: int = 30) -> None:
    """Give the world a series and its champion."""
    made = release()
    world.learn(OBSERVATIONS, factories.observation_batch(rows=rows))
    world.learn(MODELS, made)
    deploy(world, champion(made))


def deploy(world: World, *deployments: Record) -> None:
    from schemas.topics import DEPLOYMENTS

    world.learn(DEPLOYMENTS, *deployments)


def content(record: Record) -> bytes:
    """Return what travels of an answer: its value."""
    return encode(FORECASTS, record, source="/test", time=factories.START).value


def contents(records: Sequence[Record]) -> dict[str, bytes]:
    return {msgspec.json.decode(content(record))["request_id"]: content(record) for record in records}
