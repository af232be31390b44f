"""Errors told to an error tracker: any server that speaks Sentry's protocol (Sentry, GlitchTip, Bugsink).

What is logged as `error` or `critical` is sent too, by us and by libraries. It says what broke, never on what: who
operates the tracker need not be who may see the data. So the message of an exception stays here, since nobody can know
what stands in it (a database puts the row there), and so does every field of a log line but some ids. The log has all
of it, under the same ids.
"""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import structlog

from runtime.clock import Clock, SystemClock
from runtime.settings import ServiceSettings
from runtime.version import CODE_VERSION

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport

#: Fields of a log line that are sent: ids and positions, nothing that was asked, answered or forecast.
IDS = ("x_request_id", "traceparent", "correlation_id", "training_id", "delivery_id", "topic", "partition", "offset")
EVENTS_A_MINUTE = 60
QUEUED_EVENTS = 100
FLUSH_SECONDS = 2.0
TIMEOUT_SECONDS = 5

_LEVELS = {"error": "error", "critical": "fatal"}
#: All that leaves us of an event, of each exception in it and of each frame of their traces.
_EVENT = ("event_id", "timestamp", "platform", "level", "logger", "logentry", "tags", "release", "environment", "sdk")
_EXCEPTION = ("type", "module")
_MECHANISM = ("type", "handled", "source", "exception_id", "parent_id", "is_exception_group")
_FRAME = ("function", "module", "lineno", "in_app")
#: Their frames stand out in a trace, also where they are installed among the libraries.
_OURS = ["schemas", "forecasting", "runtime", "ingestor", "trainer", "predictor", "gateway", "foretopic"]
_LOG = structlog.get_logger()


class ErrorTracker:
    """Sends errors from a thread of its own; who logs never waits for it, and nothing that fails in it is raised.

    A tracker that does not answer costs a log line for each event that is lost, and up to `FLUSH_SECONDS` at the end.

    Args:
        service: Stands in every event.
        dsn: Project at a tracker, as the settings have checked it.
        environment: Stands in every event, e.g. `production`.
        clock: Measures the minute of `EVENTS_A_MINUTE`; what is more is in the log alone.
    """

    def __init__(self, service: str, dsn: str, environment: str, clock: Clock | None = None) -> None:
        self._service = service
        self._clock: Clock = clock or SystemClock()
        self._minute_began = self._clock.monotonic()
        self._sent_this_minute = 0
        self._client = _client(dsn, environment)
        # The last error is often logged on the way out, when nobody of ours runs any more.
        atexit.register(self.close)

    def __call__(self, _logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """Tell a log line of ours, before its exception becomes text; a processor of structlog."""
        if event["level"] in _LEVELS:
            error = _exception(event.get("exc_info"))
            self._send(str(event["event"]), event["level"], error, logger=self._service, ids=event)
        return event

    def tell_library(self, record: logging.LogRecord) -> None:
        """Tell what a library logs: where in its code that is, since its message may quote anything."""
        place = f"{record.name}, line {record.lineno} in {record.funcName}"
        level = "critical" if record.levelno >= logging.CRITICAL else "error"
        self._send(place, level, _exception(record.exc_info), logger=record.name, ids={})

    def close(self, timeout_seconds: float = FLUSH_SECONDS) -> None:
        """Send what waits, for at most so long; nothing is sent afterwards."""
        atexit.unregister(self.close)
        self._client.close(timeout=timeout_seconds)

    def _send(self, name: str, level: str, error: BaseException | None, *, logger: str, ids: Mapping[str, Any]) -> None:
        if not self._may_send():
            return
        from sentry_sdk.utils import event_from_exception  # noqa: PLC0415  # imported only where there is a tracker

        tags = {field: str(ids[field]) for field in IDS if ids.get(field) is not None}
        try:
            event: dict[str, Any] = {}
            if error is not None:
                event = dict(event_from_exception(error, client_options=self._client.options)[0])
            event |= {
                "level": _LEVELS[level],
                "logger": logger,
                "logentry": {"message": name},
                "tags": {"service": self._service, **tags},
            }
            self._client.capture_event(event)
        except Exception as fault:  # noqa: BLE001  # an error that cannot be looked at; its log line is still written
            _LOG.warning("error-tracker-failed", reason=type(fault).__name__)

    def _may_send(self) -> bool:
        now = self._clock.monotonic()
        if now - self._minute_began >= 60:  # noqa: PLR2004  # seconds
            self._minute_began, self._sent_this_minute = now, 0
        self._sent_this_minute += 1
        return self._sent_this_minute <= EVENTS_A_MINUTE


class LibraryErrors(logging.Handler):
    """Hands what libraries log as errors to a tracker."""

    def __init__(self, tracker: ErrorTracker) -> None:
        super().__init__(logging.ERROR)
        self._tracker = tracker

    def emit(self, record: logging.LogRecord) -> None:
        self._tracker.tell_library(record)


def tracker_of(service: str, settings: ServiceSettings) -> ErrorTracker | None:
    """Return the tracker that the settings name; without one the SDK is not even imported."""
    dsn = settings.error_tracker_dsn.get_secret_value()
    return ErrorTracker(service, dsn, settings.error_tracker_environment) if dsn else None


def _exception(given: object) -> BaseException | None:
    """Return what a logger was given as ``exc_info``: an exception, a triple of it, or that there is one."""
    if given is True:
        given = sys.exc_info()
    if isinstance(given, tuple):
        given = given[1]
    return given if isinstance(given, BaseException) else None


def _client(dsn: str, environment: str) -> Any:
    """Return a client that patches nothing, reads no variable of its own and follows no request."""
    import sentry_sdk  # noqa: PLC0415  # after gevent has patched what it imports, and only where there is a tracker

    return sentry_sdk.Client(
        dsn=dsn,
        release=f"foretopic@{CODE_VERSION}",
        environment=environment,
        server_name="",
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        # Files would be read while somebody logs; place and version tell the line.
        include_source_context=False,
        max_breadcrumbs=0,
        send_client_reports=False,
        auto_session_tracking=False,
        debug=False,
        spotlight=False,
        in_app_include=_OURS,
        transport=_transport(),
        transport_queue_size=QUEUED_EVENTS,
        before_send=_cut,
    )


def _transport() -> type[Transport]:
    from sentry_sdk.transport import HttpTransport  # noqa: PLC0415  # as in `_client`

    class OnceOnly(HttpTransport):
        """Tries each event once, and tells of each that was lost."""

        TIMEOUT = TIMEOUT_SECONDS

        def _get_pool_options(self) -> dict[str, Any]:
            # Each try would leave a warning of the HTTP client in our log.
            return super()._get_pool_options() | {"retries": False}

        def on_dropped_event(self, reason: str) -> None:
            _LOG.warning("error-not-tracked", reason=reason)

    return OnceOnly


def _cut(event: Any, _hint: object) -> Any:
    """Return what may leave us of an event; what the SDK adds in its next version may not."""
    cut = {name: event[name] for name in _EVENT if name in event}
    values = event.get("exception", {}).get("values", [])
    if values:
        cut["exception"] = {"values": [_cut_exception(value) for value in values]}
    return cut


def _cut_exception(value: Mapping[str, Any]) -> dict[str, Any]:
    cut = {name: value.get(name) for name in _EXCEPTION}
    cut["mechanism"] = {name: value["mechanism"][name] for name in _MECHANISM if name in value["mechanism"]}
    frames = (value.get("stacktrace") or {}).get("frames", [])
    if frames:
        cut["stacktrace"] = {"frames": [_cut_frame(frame) for frame in frames]}
    return cut


def _cut_frame(frame: Mapping[str, Any]) -> dict[str, Any]:
    cut = {name: frame[name] for name in _FRAME if name in frame}
    # The whole path may name whose machine it is.
    cut["filename"] = "/".join(PurePath(frame.get("filename") or "").parts[-2:])
    return cut
