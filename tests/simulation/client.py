"""Whoever writes to the topics from outside: callers through a gateway, programs, and somebody who writes junk."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

import msgspec

from runtime.broker import OutgoingMessage, TopicPartition
from runtime.clock import Clock
from runtime.errors import TransientError
from runtime.publisher import Publisher
from schemas.forecasts import AsOf, ForecastRequestBatch, ForecastRequested, default_model_name
from schemas.ingests import IngestRequested
from schemas.record import Record
from schemas.topics import (
    DEPLOYMENTS,
    FORECAST_REQUESTS,
    INGEST_REQUESTS,
    MODELS,
    OBSERVATIONS,
    TRAINING_REQUESTS,
    Topic,
)
from schemas.trainings import TrainingCancelRequested, TrainingRequested
from tests.simulation.cluster import ProcessBroker
from tests.simulation.series import SERIES, home, home_of


class Client:
    """Asks for forecasts and trainings, repeats itself, and forgets nothing that was acknowledged.

    Its memory outlives a crash of the process that it runs in, as a caller's does.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        #: Everything that was ever sent, by its id.
        self.requests: dict[str, ForecastRequested] = {}
        self.ingests: dict[str, IngestRequested] = {}
        self.trainings: dict[str, TrainingRequested] = {}
        #: Ids whose message the broker acknowledged.
        self.acknowledged: set[str] = set()
        self._seen: dict[TopicPartition, int] = {}

    def process(self, broker: ProcessBroker, clock: Clock) -> ClientProcess:
        """Return a process that speaks for this client."""
        return ClientProcess(self, broker, clock)

    def seen(self, broker: ProcessBroker, partition: TopicPartition) -> int:
        """Return how far a gateway has read: anywhere from where it was to the end."""
        end = broker.end_offsets([partition])[partition]
        self._seen[partition] = self._rng.randint(self._seen.get(partition, 0), end)
        return self._seen[partition]

    def as_of(self, broker: ProcessBroker, series_id: str | None) -> AsOf:
        of_series = 0 if series_id is None else self.seen(broker, TopicPartition(OBSERVATIONS.name, home(series_id)))
        return AsOf(
            observations=of_series,
            models=self.seen(broker, TopicPartition(MODELS.name, 0)),
            deployments=self.seen(broker, TopicPartition(DEPLOYMENTS.name, 0)),
        )


class ClientProcess:
    """One gateway: sends one thing a cycle and awaits its acknowledgement."""

    def __init__(self, client: Client, broker: ProcessBroker, clock: Clock) -> None:
        self._client = client
        self._rng = client._rng
        self._broker = broker
        self._publisher = Publisher(broker.producer(), service="gateway", clock=clock)

    def steps(self) -> Iterator[str]:
        actions: list[tuple[int, Callable[[], Iterator[str]]]] = [
            (40, self._ask),
            (8, self._ask_in_batch),
            (2, self._ask_in_wrong_partition),
            (15, self._ask_again),
            (10, self._ingest),
            (8, self._train),
            (4, self._train_again),
            (2, self._cancel),
            (3, self._write_junk),
        ]
        if self._rng.random() < 0.5:
            actions = self._what_is_missing() or actions
        weights, choices = zip(*actions, strict=True)
        yield from self._rng.choices(choices, weights)[0]()

    def _what_is_missing(self) -> list[tuple[int, Callable[[], Iterator[str]]]]:
        """Return what a new user does first: load data, then train; without it all requests would be refused."""
        places = [TopicPartition(OBSERVATIONS.name, home(series_id)) for series_id in SERIES]
        if not all(self._broker.end_offsets(places).values()):
            return [(1, self._ingest)]
        models = TopicPartition(MODELS.name, 0)
        return [] if self._broker.end_offsets([models])[models] else [(1, self._train)]

    def repeat_unacknowledged(self) -> Iterator[str]:
        """Do what a caller without an answer does at last: ask again, under the same id."""
        client = self._client
        everything: tuple[tuple[Topic, Mapping[str, Record]], ...] = (
            (INGEST_REQUESTS, client.ingests),
            (TRAINING_REQUESTS, client.trainings),
            (FORECAST_REQUESTS, client.requests),
        )
        for topic, records in everything:
            for given_id, record in records.items():
                if given_id not in client.acknowledged:
                    yield from self._send(topic, record, given_id)

    def _new_request(self) -> ForecastRequested:
        rng, number = self._rng, len(self._client.requests)
        series_id: str | None = rng.choice(SERIES)
        model = rng.choice([None, None, default_model_name(SERIES[0]), "sim/never-trained"])
        window = None
        if rng.random() < 0.15:
            window = tuple((100.0 + rng.random(),) for _ in range(rng.choice([5, 5, 5, 4])))
            series_id, model = None, default_model_name(rng.choice(SERIES))
        as_of = None if rng.random() < 0.3 else self._client.as_of(self._broker, series_id)
        if as_of is not None and rng.random() < 0.03:
            as_of = msgspec.structs.replace(as_of, observations=10**9)  # nobody can have seen that
        return ForecastRequested(
            request_id=f"request-{number}",
            series_id=series_id,
            window=window,
            horizon=rng.choice([1, 2, 3, 3, 99]),
            levels=rng.choice([(80.0,), (50.0, 80.0)]),
            model=model,
            as_of=as_of,
        )

    def _ask(self) -> Iterator[str]:
        request = self._new_request()
        self._client.requests[request.request_id] = request
        yield from self._send(FORECAST_REQUESTS, request, request.request_id)

    def _ask_in_wrong_partition(self) -> Iterator[str]:
        """Ask as a client does that partitions in its own way."""
        request = self._new_request()
        self._client.requests[request.request_id] = request
        yield from self._send(FORECAST_REQUESTS, request, request.request_id, partition=1 - home_of(request))

    def _ask_in_batch(self) -> Iterator[str]:
        asked: list[ForecastRequested] = []
        for _ in range(3):
            request = self._new_request()
            # Now and then by a client that puts together what does not belong together.
            if not asked or home_of(request) == home_of(asked[0]) or self._rng.random() < 0.2:
                self._client.requests[request.request_id] = request
                asked.append(request)
        batch = ForecastRequestBatch(requests=tuple(asked))
        yield from self._send(FORECAST_REQUESTS, batch, *(request.request_id for request in asked))

    def _ask_again(self) -> Iterator[str]:
        """Repeat a request as it was, or as another gateway would, that pins it to what it has seen itself.

        It may come into another partition than before, by a client that partitions in its own way.
        """
        if not self._client.requests:
            return
        request = self._client.requests[self._rng.choice(sorted(self._client.requests))]
        if request.as_of is not None and request.as_of.observations < 10**9 and self._rng.random() < 0.5:
            request = msgspec.structs.replace(request, as_of=self._client.as_of(self._broker, request.series_id))
        partition = 1 - home_of(request) if self._rng.random() < 0.2 else None
        yield from self._send(FORECAST_REQUESTS, request, request.request_id, partition=partition)

    def _ingest(self) -> Iterator[str]:
        series_id = self._rng.choice(SERIES)
        known = sorted(self._client.ingests)
        if known and self._rng.random() < 0.3:
            request = self._client.ingests[self._rng.choice(known)]
        else:
            request = IngestRequested(
                ingest_id=f"ingest-{len(known)}",
                series_id=series_id,
                sources=("market",),
                symbol=series_id,
                freq="1d",
                calendar="24/7",
            )
            self._client.ingests[request.ingest_id] = request
        yield from self._send(INGEST_REQUESTS, request, request.ingest_id)

    def _train(self) -> Iterator[str]:
        series_id = self._rng.choice(SERIES)
        ends = {TopicPartition(OBSERVATIONS.name, home(series_id)): 0}
        request = TrainingRequested(
            training_id=f"training-{len(self._client.trainings)}",
            model=default_model_name(series_id),
            series_ids=(series_id,),
            algorithm=self._rng.choice(["drift", "drift", "last-value", "no-such-algorithm"]),
            horizon=3,
            window_size=5,
            levels=(50.0, 80.0),
            as_of={str(key.partition): end for key, end in self._broker.end_offsets(ends).items()},
        )
        self._client.trainings[request.training_id] = request
        yield from self._send(TRAINING_REQUESTS, request, request.training_id)

    def _train_again(self) -> Iterator[str]:
        if self._client.trainings:
            training = self._client.trainings[self._rng.choice(sorted(self._client.trainings))]
            yield from self._send(TRAINING_REQUESTS, training, training.training_id)

    def _cancel(self) -> Iterator[str]:
        if self._client.trainings:
            training = self._client.trainings[self._rng.choice(sorted(self._client.trainings))]
            cancel = TrainingCancelRequested(training_id=training.training_id, series_id=training.series_ids[0])
            yield from self._send(TRAINING_REQUESTS, cancel)

    def _write_junk(self) -> Iterator[str]:
        topic = self._rng.choice([FORECAST_REQUESTS, INGEST_REQUESTS, OBSERVATIONS, TRAINING_REQUESTS])
        yield "before-publish"
        self._broker.producer().send(OutgoingMessage(topic=topic.name, key=b"junk", value=b"\xff{"))
        yield "after-publish"

    def _send(self, topic: Topic, record: Record, *given_ids: str, partition: int | None = None) -> Iterator[str]:
        yield "before-publish"
        delivery = self._publisher.send(topic, record, partition=partition)
        yield "before-acknowledge"
        try:
            delivery.result(0.0)
        except TransientError:
            return  # not known: the caller may ask again
        self._client.acknowledged.update(given_ids)
        yield "after-acknowledge"
