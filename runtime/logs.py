"""JSON lines on stdout: a fixed event name and fields, one object a line, also for what libraries log."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import msgspec
import structlog

from runtime.error_tracker import ErrorTracker, LibraryErrors
from runtime.version import CODE_VERSION

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_ENCODER = msgspec.json.Encoder(enc_hook=str)


class _Stamp:
    """Adds who writes to every line, in every thread (context variables would not reach new ones)."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = self._service
        event["code_version"] = CODE_VERSION
        return event


def _render(_logger: object, _method: str, event: structlog.typing.EventDict) -> bytes:
    return _ENCODER.encode(dict(event))


class _JsonFormatter(logging.Formatter):
    """What a library logs, as one of our lines."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "event": "library",
            "logger": record.name,
            "message": record.getMessage(),
            "service": self._service,
            "level": record.levelname.lower(),
            "time": structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", {})["timestamp"],
        }
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return _ENCODER.encode(line).decode()


def configure(service: str, log_level: str, tracker: ErrorTracker | None = None) -> None:
    """Send every log line of this process to stdout as JSON.

    Args:
        service: Stands in every line.
        log_level: `debug`, `info`, `warning` or `error`: the least severe lines that are written. Libraries are
            heard from `warning` on, except at `debug`.
        tracker: Is told every error as well.
    """
    level = _LEVELS[log_level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _Stamp(service),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *([tracker] if tracker is not None else []),
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=False,
    )
    handler: logging.Handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter(service))
    handlers = [handler] if tracker is None else [handler, LibraryErrors(tracker)]
    logging.basicConfig(
        level=level if level == logging.DEBUG else max(level, logging.WARNING), handlers=handlers, force=True
    )
    logging.captureWarnings(True)
