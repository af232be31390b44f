"""Put the ingestor together from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from ingestor.jobs import Fetchers, FetchRunner, ThreadRunner
from ingestor.owned import OwnedPartitions
from ingestor.providers import Policy, Providers
from ingestor.registry import fetchers, policies
from ingestor.service import Ingests
from ingestor.settings import SERVICE, IngestorSettings
from ingestor.state import IngestLog
from runtime.broker import Broker
from runtime.clock import Clock, SystemClock
from runtime.health import Health
from runtime.incoming import Incoming
from runtime.job_worker import JobWorker
from runtime.kafka_broker import KafkaBroker
from runtime.metrics import Metrics
from schemas.topics import INGEST_REQUESTS, QUARANTINE


def build(
    settings: IngestorSettings,
    *,
    broker: Broker | None = None,
    clock: Clock | None = None,
    sources: Fetchers | None = None,
    limits: Mapping[str, Policy] | None = None,
    runner: Callable[[Fetchers], FetchRunner] = ThreadRunner,
    metrics: Metrics | None = None,
    health: Health | None = None,
    poll_seconds: float = 0.2,
) -> JobWorker:
    """Return a worker that is not connected yet; ``None`` means the real thing.

    Args:
        settings: Where Kafka is, and what the sources may do.
        broker: The log.
        clock: Stamps what is published and decides which intervals are complete.
        sources: How each source is asked, by name.
        limits: How much is asked of each; with ``sources`` none.
        runner: Makes what does the fetches.
        metrics: Where it counts.
        health: Told that work goes on.
        poll_seconds: How long one turn waits for messages or fetches.
    """
    broker = broker or KafkaBroker(settings.kafka_bootstrap_servers, f"foretopic-{SERVICE}")
    clock = clock or SystemClock()
    log = IngestLog()
    asked = fetchers(settings) if sources is None else sources
    if limits is None:
        limits = policies(settings) if sources is None else {}
    core = Ingests(
        owned=OwnedPartitions(broker=broker, log=log, clock=clock, service=SERVICE, topic_prefix=settings.topic_prefix),
        log=log,
        runner=runner(asked),
        sources=list(asked),
        providers=Providers(limits),
        clock=clock,
        patience=timedelta(seconds=settings.retry_seconds),
        scheduled_patience=timedelta(seconds=settings.scheduled_retry_seconds),
        poll_seconds=poll_seconds,
    )
    return JobWorker(
        service=SERVICE,
        broker=broker,
        topics=[INGEST_REQUESTS, QUARANTINE],
        core=core,
        clock=clock,
        topic_prefix=settings.topic_prefix,
        metrics=metrics or Metrics(SERVICE),
        health=health or Health(clock),
        log_fields=_log_fields,
    )


def _log_fields(incoming: Incoming) -> Mapping[str, object]:
    record = incoming.record
    names = ("series_id", "ingest_id", "quarantine_id")
    return {name: value for name in names if (value := getattr(record, name, None)) is not None}
