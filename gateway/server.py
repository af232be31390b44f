"""gunicorn, started from code: one worker process that serves every connection in a green thread.

Why gevent and one process: measured figures stand in docs/decisions. The worker is patched and the clients of the log
are made after the fork, so nothing that holds a connection or a thread may be imported into the arbiter's life earlier
than `GatewayServer.load`.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from gunicorn.app.base import BaseApplication

from gateway.settings import GatewaySettings


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
            "worker_class": settings.worker_class,
            "threads": settings.threads,
            "worker_connections": 2 * settings.threads,
            "backlog": 1024,
            "keepalive": 15,
            "timeout": 60,
            "graceful_timeout": settings.graceful_stop_seconds,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": settings.log_level,
            "proc_name": "foretopic-gateway",
            "control_socket_disable": True,
            "worker_exit": lambda _arbiter, worker: _stop(worker),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Build the application in the worker, after the fork and after gevent has patched it."""
        # Imported here, in the worker: gevent patches the libraries first.
        from gateway.app import service_of  # noqa: PLC0415
        from gateway.compose import build  # noqa: PLC0415
        from runtime.logs import configure  # noqa: PLC0415

        configure("gateway", self._settings.log_level)
        app = build(self._settings, on_failure=_end_arbiter)
        service_of(app).start()
        return app


def _end_arbiter() -> None:
    """End the whole server, so that whoever supervises it starts it again, with back-off."""
    os.kill(os.getppid(), signal.SIGTERM)


def _stop(worker: Any) -> None:
    from gateway.app import service_of  # noqa: PLC0415  # as in `GatewayServer.load`

    app = getattr(worker, "wsgi", None)
    if app is not None:
        service_of(app).stop()
