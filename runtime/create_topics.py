"""Create the topics of an installation that do not exist: `python -m runtime.create_topics`, once before the services.

Reads the same variables as the services; ends with 0 when every topic is there, with 2 when a setting
cannot be used, with 1 and the reason otherwise.
"""

from __future__ import annotations

import sys

import structlog
from pydantic import Field

from runtime import logs
from runtime.broker import Broker
from runtime.clock import Clock, SystemClock
from runtime.error_tracker import tracker_of
from runtime.errors import SettingsError, TransientError
from runtime.settings import ServiceSettings, load_settings, settings_config
from runtime.topic_specs import specs

_LOG = structlog.get_logger("topics")
_PAUSE_SECONDS = 1.0


class TopicsSettings(ServiceSettings):
    """Settings of the creation of topics; variables begin with ``FORETOPIC_TOPICS_``."""

    model_config = settings_config("topics")

    replication_factor: int = Field(
        default=1, ge=1, le=7, description="Copies of each message; needs as many brokers, 3 on a real cluster"
    )
    timeout_seconds: float = Field(default=60.0, gt=0, description="How long a broker that does not answer is asked")


def create_topics(broker: Broker, settings: TopicsSettings, clock: Clock) -> None:
    """Create what does not exist, asking again while the broker does not answer.

    Raises:
        TransientError: The broker has not answered within ``timeout_seconds``.
        ValueError: A topic exists with other partitions.
    """
    wanted = specs(settings.topic_prefix, settings.replication_factor)
    deadline = clock.monotonic() + settings.timeout_seconds
    while True:
        try:
            broker.ensure_topics(wanted)
        except TransientError as error:
            if clock.monotonic() >= deadline:
                raise
            _LOG.warning("broker-unavailable", reason=str(error))
            clock.sleep(_PAUSE_SECONDS)
        else:
            _LOG.info("topics-ready", topics=[spec.name for spec in wanted])
            return


def main() -> int:
    """Run as a process; return its exit code."""
    from runtime.kafka_broker import KafkaBroker  # noqa: PLC0415  # the pure part needs no Kafka client

    try:
        settings = load_settings(TopicsSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.configure("topics", settings.log_level, tracker_of("topics", settings))
    try:
        broker = KafkaBroker(settings.kafka_bootstrap_servers, client_id="foretopic-topics")
        try:
            create_topics(broker, settings, SystemClock())
        finally:
            broker.close()
    except (TransientError, ValueError) as error:
        _LOG.error("topics-not-created", reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
