"""The version of the code that runs, as it stands in records and logs."""

from __future__ import annotations

from importlib.metadata import version

CODE_VERSION = version("foretopic")
