"""The processes of the one-machine stack: what each is started with and when it counts as ready."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from foretopic.embedded_kafka import EmbeddedKafka
from foretopic.files import DIRECTORY_VARIABLE, RAW_VARIABLE, files_directory, raw_directory
from foretopic.ports import LOOPBACK, free_port
from foretopic.stack_settings import StackSettings
from foretopic.supervisor import ServiceSpec

KAFKA = "kafka"
MLFLOW = "mlflow"
#: In the order of their start.
WORKERS = ("ingestor", "trainer", "predictor")
GATEWAY = "gateway"
NAMES = (KAFKA, MLFLOW, *WORKERS, GATEWAY)
_KEY_FILE_VARIABLE = "FORETOPIC_GATEWAY_FIRST_START_KEY_FILE"
_PROBE_SECONDS = 1.0
_HTTP_OK = 200


def log_path(home: Path, service: str) -> Path:
    """Return the log file of a service."""
    return home / "logs" / f"{service}.log"


def first_start_key_path(home: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file that a gateway with accounts writes the key for the first run to."""
    return Path(environment.get(_KEY_FILE_VARIABLE) or home.absolute() / "first-start-key")


def is_healthy(port: int, path: str = "/health") -> bool:
    """Tell whether ``GET path`` on a loopback port answers 200 now."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == _HTTP_OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def service_environment(settings: StackSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of every service: ours, and where things are."""
    return dict(environment) | {
        "FORETOPIC_HOME": str(settings.home.absolute()),
        "FORETOPIC_KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{settings.kafka_port}",
        "FORETOPIC_GATEWAY_PORT": str(settings.gateway_port),
        "FORETOPIC_GATEWAY_ACCOUNTS": environment.get("FORETOPIC_GATEWAY_ACCOUNTS", "local"),
        _KEY_FILE_VARIABLE: str(first_start_key_path(settings.home, environment)),
        "FORETOPIC_TRAINER_MLFLOW_TRACKING_URI": settings.mlflow_url,
        DIRECTORY_VARIABLE: str(files_directory(settings.home, environment)),
        "FORETOPIC_GATEWAY_FILES_DIRECTORY": str(files_directory(settings.home, environment)),
        RAW_VARIABLE: str(raw_directory(settings.home, environment)),
        # A restarted predictor goes on at once under its old name instead of waiting for its old membership to end.
        "FORETOPIC_PREDICTOR_INSTANCE_ID": "predictor-1",
        # glibc otherwise keeps up to eight arenas a core in each of our threaded processes.
        "MALLOC_ARENA_MAX": "2",
        "PYTHONUNBUFFERED": "1",
    }


def service_specs(
    settings: StackSettings, kafka: EmbeddedKafka, environment: Mapping[str, str] | None = None
) -> tuple[ServiceSpec, ...]:
    """Return the processes of a stack in the order of their start; ``kafka`` must be prepared."""
    home = settings.home.absolute()
    base = service_environment(settings, os.environ if environment is None else environment)
    taken = {settings.kafka_port, settings.gateway_port, settings.mlflow_port}
    specs = [
        ServiceSpec(
            name=KAFKA,
            command=kafka.command,
            environment=base,
            log_path=kafka.log_path(),
            is_ready=kafka.is_ready,
            port=settings.kafka_port,
            explain=lambda log_start, exit_code: kafka.explain(log_start=log_start, exit_code=exit_code),
            stop_seconds=30.0,
        ),
        ServiceSpec(
            name=MLFLOW,
            command=_python(
                "foretopic.mlflow_server", "--home", str(home / MLFLOW), "--port", str(settings.mlflow_port)
            ),
            environment=base,
            log_path=log_path(home, MLFLOW),
            is_ready=_healthy_on(settings.mlflow_port),
            port=settings.mlflow_port,
            stop_seconds=10.0,
        ),
    ]
    for name in WORKERS:
        port = free_port(taken)
        taken.add(port)
        specs.append(
            ServiceSpec(
                name=name,
                command=_python(name),
                environment=base | {"FORETOPIC_METRICS_PORT": str(port)},
                log_path=log_path(home, name),
                is_ready=_healthy_on(port),
                port=port,
            )
        )
    specs.append(
        ServiceSpec(
            name=GATEWAY,
            command=_python(GATEWAY),
            environment=base,
            log_path=log_path(home, GATEWAY),
            is_ready=_healthy_on(settings.gateway_port),
            port=settings.gateway_port,
            stop_seconds=20.0,
        )
    )
    return tuple(specs)


def _python(module: str, *arguments: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-m", module, *arguments]


def _healthy_on(port: int) -> Callable[[], bool]:
    return lambda: is_healthy(port)
