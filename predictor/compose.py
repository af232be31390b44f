"""Put the predictor together from its settings."""

from __future__ import annotations

from predictor.core import Predictor
from predictor.log_reader import LogReader
from predictor.report import Report
from predictor.settings import SERVICE, PredictorSettings
from predictor.worker import PredictorWorker
from runtime.broker import Broker
from runtime.clock import Clock, SystemClock
from runtime.errors import TransientError
from runtime.health import Health
from runtime.metrics import Metrics
from schemas.topics import DEAD_LETTERS, DEPLOYMENTS, FORECAST_REQUESTS, FORECASTS, MODELS, OBSERVATIONS

_KEYED_BY_SERIES = (FORECAST_REQUESTS, OBSERVATIONS, FORECASTS)


def partitions_of(settings: PredictorSettings, broker: Broker) -> int:
    """Return how many partitions the topics have that are keyed by series.

    Raises:
        TransientError: A topic does not exist yet.
        ValueError: The numbers differ: then no instance would own a series whole.
    """
    counts = {
        topic.name: broker.partitions(topic.full_name(settings.topic_prefix))
        for topic in (*_KEYED_BY_SERIES, MODELS, DEPLOYMENTS, DEAD_LETTERS)
    }
    missing = [f"{settings.topic_prefix}{name}" for name, count in counts.items() if count == 0]
    if missing:
        raise TransientError(f"topics {', '.join(missing)} do not exist; create them with `foretopic topics create`")
    keyed = {counts[topic.name] for topic in _KEYED_BY_SERIES}
    if len(keyed) != 1:
        found = ", ".join(f"{topic.name} {counts[topic.name]}" for topic in _KEYED_BY_SERIES)
        raise ValueError(f"topics keyed by series must have equal numbers of partitions, have: {found}")
    return keyed.pop()


def build(
    settings: PredictorSettings,
    *,
    partitions: int,
    metrics: Metrics | None = None,
    health: Health | None = None,
    clock: Clock | None = None,
    predictor_type: type[Predictor] = Predictor,
) -> PredictorWorker:
    """Return a worker that is not connected yet.

    Args:
        settings: Where Kafka is, and the limits.
        partitions: How many partitions the topics have that are keyed by series; see `partitions_of`.
        metrics: Where it counts; its own when ``None``.
        health: Told that work goes on; its own when ``None``.
        clock: Stamps what is published; the machine's when ``None``.
        predictor_type: What decides.
    """
    report = Report(metrics or Metrics(SERVICE), settings.topic_prefix)
    # The predictor asks the reader how far it is, and the reader feeds the predictor.
    predictor = predictor_type(
        partitions=partitions,
        positions=lambda: reader.positions(),  # noqa: PLW0108  # there is no reader yet
        topic_prefix=settings.topic_prefix,
        answered_limit=settings.answered_limit,
        session_limit=settings.session_limit,
    )
    reader = LogReader(
        predictor,
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id=f"foretopic-{SERVICE}-log",
        topic_prefix=settings.topic_prefix,
        on_invalid=report.ignored,
    )
    return PredictorWorker(
        settings,
        predictor=predictor,
        reader=reader,
        report=report,
        health=health or Health(),
        clock=clock or SystemClock(),
    )
