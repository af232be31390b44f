"""Measure one set in a process of its own, so that its memory is its own: ``python -m benchmarks.accuracy.worker``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import msgspec

from benchmarks.accuracy.table import Row

#: Name of a set -> its module, with ``run(data_dir, report) -> list[Row]``. They run in this order.
SETS: dict[str, str] = {
    "m3": "benchmarks.accuracy.m3",
    "m4": "benchmarks.accuracy.m4",
    "rossmann": "benchmarks.accuracy.rossmann",
    "stocks": "benchmarks.accuracy.stocks",
    "crypto": "benchmarks.accuracy.crypto",
    "speed": "benchmarks.accuracy.speed",
    "features": "benchmarks.accuracy.features",
}


def rows_of(name: str, folder: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the figures of a set.

    Args:
        name: A name of `SETS`.
        folder: Where the real data is.
        report: Told what is being done, a line each.
    """
    run: Callable[[Path, Callable[[str], None]], list[Row]] = import_module(SETS[name]).run
    return run(folder, report)


def main() -> None:
    """Write the rows of a set as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.worker", description=__doc__)
    parser.add_argument("name", choices=SETS)
    parser.add_argument("folder", type=Path, help="where the real data is")
    parser.add_argument("rows", type=Path, help="where the rows are written")
    given = parser.parse_args()
    rows = rows_of(given.name, given.folder, lambda line: print(f"  {line}", flush=True))  # noqa: T201  # it is watched
    given.rows.write_bytes(msgspec.json.encode(rows))


if __name__ == "__main__":
    main()
