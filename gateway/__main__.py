"""``python -m gateway``: read the settings, serve until a signal says stop."""

from __future__ import annotations

import sys

from gateway.server import GatewayServer
from gateway.settings import GatewaySettings
from runtime.errors import SettingsError
from runtime.settings import load_settings


def main() -> int:
    """Serve; return the exit code."""
    try:
        settings = load_settings(GatewaySettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    GatewayServer(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
