"""gunicorn, started from code: one worker process that serves every connection in a green thread.

Measured with everything on 2 cores and 64 connections, a forecast cost 0.9 ms of CPU in a gevent worker and 2.2 ms with
threads of the system (800 and 410 forecasts a second): beside kafka-python's own threads those fight for the
interpreter lock. One worker, since each follows the log and keeps the projection by itself.

The worker is patched and the clients of the log are made after the fork, so nothing that holds a connection or starts
a thread may be imported or made before `GatewayServer.load`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from gateway.settings import GatewaySettings

_PR_SET_PDEATHSIG = 1


class GatewayServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The arbiter; `run` returns by exiting the process."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        options: dict[str, Any] = {
            "bind": f"{settings.host}:{settings.port}",
            "workers": 1,
            "worker_class": "gevent",
            "worker_connections": settings.max_connections,
            "backlog": 1024,
            "keepalive": 15,
            "timeout": 60,
            "graceful_timeout": settings.graceful_stop_seconds,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": settings.log_level,
            "proc_name": "foretopic-gateway",
            "control_socket_disable": True,
            "post_fork": lambda _arbiter, _worker: _die_with_parent(),
            "worker_exit": lambda _arbiter, worker: _stop(worker),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Build the application in the worker, after the fork and after gevent has patched it."""
        # Imported here, in the worker: gevent patches the libraries first.
        from gateway.app import service_of  # noqa: PLC0415
        from gateway.compose import build  # noqa: PLC0415
        from runtime.error_tracker import LibraryErrors, tracker_of  # noqa: PLC0415
        from runtime.logs import configure  # noqa: PLC0415
        from runtime.process import collect_rarely  # noqa: PLC0415

        tracker = tracker_of("gateway", self._settings)
        configure("gateway", self._settings.log_level, tracker)
        if tracker is not None:
            # gunicorn's own log, which tells why a gateway cannot start, does not go through the others.
            logging.getLogger("gunicorn.error").addHandler(LibraryErrors(tracker))
        app = build(self._settings, on_failure=_end_arbiter)
        _show_first_operator(service_of(app))
        collect_rarely()
        service_of(app).start()
        return app


def _show_first_operator(service: Any) -> None:
    """Say who the first operator is, on the terminal and not in the log lines, which travel further."""
    from gateway.accounts.first_operator import announcement, make_first_operator  # noqa: PLC0415  # likewise

    settings = service.settings
    if settings.accounts != "required":
        return
    email = settings.first_operator_email.lower()
    key_file = settings.first_start_key_file
    password = make_first_operator(service.accounts, service.sign_in.passwords, email, key_file)
    if password is not None:
        # Nobody can open the address that means all of a machine's.
        host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  # not listened on
        url = settings.public_url or f"http://{host}:{settings.port}"
        sys.stderr.write(announcement(email, password, url))
        sys.stderr.flush()


def _die_with_parent() -> None:
    """End this worker at once when the arbiter is killed: it would hold the port and the database of the next one."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_arbiter() -> None:
    """End the whole server, so that whoever supervises it starts it again, with back-off."""
    os.kill(os.getppid(), signal.SIGTERM)


def _stop(worker: Any) -> None:
    from gateway.app import service_of  # noqa: PLC0415  # as in `GatewayServer.load`

    app = getattr(worker, "wsgi", None)
    if app is not None:
        service_of(app).stop()
