"""The whole loop in one process, without Kafka: load, train, ask, forecast. ``python examples/memory_loop.py``.

The in-memory broker has offsets, groups and redelivery as Kafka has, and the services are the real ones, each in a
thread instead of a process. The trainer trains within its thread, and the predictor runs without Faust.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TypeVar

import structlog

from forecasting.training import train
from ingestor.compose import build as build_ingestor
from ingestor.settings import IngestorSettings
from predictor.core import Predictor
from runtime.broker import Broker, TopicPartition
from runtime.clock import SystemClock
from runtime.follower import Follower
from runtime.memory_broker import MemoryBroker
from runtime.publisher import Publisher
from runtime.topic_specs import specs
from runtime.worker import Worker
from schemas.codec import decode
from schemas.forecasts import ForecastIssued, ForecastRequested, default_model_name
from schemas.ingests import IngestEvent, IngestRequested
from schemas.record import Record
from schemas.topics import (
    DEPLOYMENTS,
    FORECAST_REQUESTS,
    FORECASTS,
    INGEST_EVENTS,
    INGEST_REQUESTS,
    MODELS,
    OBSERVATIONS,
    TRAINING_EVENTS,
    TRAINING_REQUESTS,
    Topic,
)
from schemas.trainings import FINAL_TRAINING_STATES, TrainingEvent, TrainingRequested
from trainer.compose import build as build_trainer
from trainer.execution import Execution
from trainer.in_process import InProcessRunner
from trainer.settings import TrainerSettings

SERIES = "demo/HET@1d"
PATIENCE_SECONDS = 60.0
CLOCK = SystemClock()
R = TypeVar("R", bound=Record)


def build_predictor(broker: Broker) -> Worker:
    """Return the predictor's core under the plain worker loop; the service itself runs it under Faust."""
    followed = (OBSERVATIONS, FORECASTS)
    follower = Follower(
        broker,
        topics=(*followed, MODELS, DEPLOYMENTS),
        topic_prefix="",
        apply=lambda incoming: core.apply(incoming),  # noqa: PLW0108  # there is no core yet
        on_invalid=lambda message, error: print(f"passed over {message.topic}/{message.offset}: {error}"),
    )
    core = Predictor(partitions=FORECAST_REQUESTS.partitions, positions=follower.positions)
    whole = [TopicPartition(topic.name, 0) for topic in (MODELS, DEPLOYMENTS)]
    follower.assign(dict.fromkeys(whole, 0))
    core.require(broker.end_offsets(whole))

    def places(number: int) -> list[TopicPartition]:
        return [TopicPartition(topic.name, number) for topic in followed]

    def on_assigned(partitions: Collection[TopicPartition]) -> None:
        for number in {partition.partition for partition in partitions}:
            follower.add(dict.fromkeys(places(number), 0))
            core.require(broker.end_offsets(places(number)), number)

    def on_revoked(partitions: Collection[TopicPartition]) -> None:
        for number in {partition.partition for partition in partitions}:
            follower.remove(places(number))
            core.forget(number)

    return Worker(
        service="predictor",
        broker=broker,
        topics=(FORECAST_REQUESTS, OBSERVATIONS),
        handler=core,
        clock=CLOCK,
        follower=follower,
        on_assigned=on_assigned,
        on_revoked=on_revoked,
    )


def records(broker: Broker, topic: Topic, kind: type[R]) -> Iterator[R]:
    """Yield what stands in a topic now, partition by partition in log order."""
    places = [TopicPartition(topic.name, number) for number in range(broker.partitions(topic.name))]
    for place, end in broker.end_offsets(places).items():
        reader = broker.reader({place: 0})
        while reader.position(place) < end:
            for message in reader.poll(0.0):
                record = decode(topic, message.value, message.headers).record
                if isinstance(record, kind):
                    yield record
        reader.close()


def wait_for(broker: Broker, topic: Topic, kind: type[R], states: Collection[str] = ()) -> R:
    """Return the first record of a kind, with one of these states where some are named."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for record in records(broker, topic, kind):
            if not states or getattr(record, "state", None) in states:
                return record
        time.sleep(0.02)
    raise TimeoutError(f"no {kind.__name__} within {PATIENCE_SECONDS:g} s")


@contextmanager
def services(broker: Broker) -> Iterator[None]:
    """Run ingestor, trainer and predictor until the block ends."""
    execution = Execution(broker, topic_prefix="", train=train, recorder=None, max_rows=100_000)
    built = (
        build_ingestor(IngestorSettings(), broker=broker, clock=CLOCK),
        # Each turn tells one step of a training that is over by then: short turns.
        build_trainer(
            TrainerSettings(poll_seconds=0.01), broker=broker, runner=InProcessRunner(execution), clock=CLOCK
        ),
        build_predictor(broker),
    )
    stop = threading.Event()
    threads = [threading.Thread(target=service.run, args=(stop,)) for service in built]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def main() -> None:
    """Go from nothing to a forecast."""
    # The services tell what they do line by line; here the records tell it.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    broker = MemoryBroker(CLOCK)
    broker.ensure_topics(specs())
    with services(broker):
        load_train_and_forecast(broker)


def load_train_and_forecast(broker: Broker) -> None:
    """Write three requests, one after the other, and print how each ends."""
    client = Publisher(broker.producer(), service="example", clock=CLOCK)
    wanted = IngestRequested(
        ingest_id="load-1",
        series_id=SERIES,
        sources=("mock",),
        symbol="HET",
        freq="1d",
        calendar="24/7",
        start=date(2024, 1, 1),
        end=date(2024, 12, 31),
    )
    client.send(INGEST_REQUESTS, wanted)
    loaded = wait_for(broker, INGEST_EVENTS, IngestEvent, {"succeeded", "failed"})
    print(f"{loaded.series_id}: {loaded.state}, {loaded.rows_published} rows from {loaded.source} {loaded.reason}")

    # The gateway pins what a training may read; here we do.
    places = [TopicPartition(OBSERVATIONS.name, number) for number in range(OBSERVATIONS.partitions)]
    as_of = {str(place.partition): end for place, end in broker.end_offsets(places).items()}
    model = default_model_name(SERIES)
    client.send(
        TRAINING_REQUESTS,
        TrainingRequested(training_id="train-1", model=model, series_ids=(SERIES,), algorithm="drift", as_of=as_of),
    )
    trained = wait_for(broker, TRAINING_EVENTS, TrainingEvent, FINAL_TRAINING_STATES)
    print(f"{trained.model}: {trained.state}, version {trained.version} {trained.reason}")

    # The predictor pins this one itself.
    client.send(FORECAST_REQUESTS, ForecastRequested(request_id="ask-1", series_id=SERIES, horizon=5))
    forecast = wait_for(broker, FORECASTS, ForecastIssued)
    print(f"forecast {forecast.forecast_id} after {forecast.cutoff:%Y-%m-%d}, model {forecast.model.version}")
    for step in forecast.steps:
        bands = "  ".join(f"{probability}: {value:.2f}" for probability, value in step.quantiles.items())
        print(f"{step.time:%Y-%m-%d}  median {step.median:.2f}  {bands}")


if __name__ == "__main__":
    main()
