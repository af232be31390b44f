"""``python -m tests.integration.memory_gateway``: the real server over a log in memory, by settings of the environment."""

from __future__ import annotations

import sys
from typing import Any

from gateway.server import GatewayServer
from gateway.settings import GatewaySettings


class MemoryGateway(GatewayServer):
    """Serves as a gateway does; only its log is made up."""

    def load(self) -> Any:
        # Imported in the worker, as in `GatewayServer.load`.
        from gateway.app import service_of
        from gateway.compose import build
        from runtime.clock import SystemClock
        from runtime.logs import configure
        from runtime.memory_broker import MemoryBroker
        from runtime.topic_specs import specs

        configure("gateway", "info")
        broker = MemoryBroker(SystemClock())
        broker.ensure_topics(specs())
        app = build(GatewaySettings(), broker=broker)
        service_of(app).start()
        return app


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    MemoryGateway(GatewaySettings()).run()
