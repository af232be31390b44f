"""Measure accuracy on known sets: ``python -m benchmarks.accuracy [SET ...] [--out report.md]``.

Each set runs in a process of its own, one after another. Settings are chosen on folds before the test part.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil
from rich.console import Console

from benchmarks.accuracy.data import MissingData, data_folder
from benchmarks.accuracy.table import Row, at_most, markdown, rich_table, verdict
from benchmarks.accuracy.worker import SETS
from benchmarks.machine import description

PACKAGES = ("foretopic", "numpy", "onnxruntime", "torch", "scikit-learn", "lightgbm", "statsforecast", "neuralforecast")
MEMORY_LIMIT_MEBIBYTES = 3 * 1024
_SAMPLE_SECONDS = 0.2


class FailedSet(Exception):
    """The process of a set ended without figures."""


def measured(name: str, folder: Path) -> list[Row]:
    """Return the figures of a set, and beside them the time and the memory that it took.

    Raises:
        FailedSet: With the exit code.
    """
    with tempfile.TemporaryDirectory(prefix="foretopic-accuracy-") as place:
        found = Path(place) / "rows.json"
        started = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.accuracy.worker", name, str(folder), str(found)]
        with subprocess.Popen(command) as process:
            try:
                peak = _peak_mebibytes(process)
            except BaseException:
                process.terminate()
                raise
        seconds = time.perf_counter() - started
        if process.returncode != 0:
            raise FailedSet(f"the set {name} ended with exit code {process.returncode}")
        rows = msgspec.json.decode(found.read_bytes(), type=list[Row])
    memory = Row(
        dataset=name,
        model="the whole set",
        measure="peak memory",
        value=peak,
        unit=" MiB",
        target=at_most(MEMORY_LIMIT_MEBIBYTES),
        seconds=seconds,
    )
    return [*rows, memory]


def _peak_mebibytes(process: subprocess.Popen[bytes]) -> float:
    """Return the most memory that a process and its children held together, waiting for its end."""
    peak = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        resident = 0
        for one in _family(watched):
            try:
                resident += one.memory_info().rss
            except psutil.Error:  # it has ended since
                continue
        peak = max(peak, resident)
        time.sleep(_SAMPLE_SECONDS)
    return peak / 2**20


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:  # it has ended since
        return []


def report(rows: Sequence[Row], machine: Sequence[str], seconds: float) -> str:
    """Return the figures as a page of the documentation."""
    told = "\n".join(machine)
    return f"{told}\n\n{markdown(rows)}\n{verdict(rows)} Total time {seconds / 60:.1f} minutes.\n"


def main() -> None:
    """Measure and print; exit code 1 where there is no data or a set fails, never for a figure that is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"one of {', '.join(SETS)}; all unless given")
    parser.add_argument("--out", type=Path, help="write the figures as Markdown too")
    given = parser.parse_args()
    unknown = [name for name in given.sets if name not in SETS]
    if unknown:
        parser.error(f"SET must be one of {', '.join(SETS)}, was {', '.join(unknown)}")
    console = Console(width=180)
    started = time.perf_counter()
    rows: list[Row] = []
    try:
        folder = data_folder()
        machine = description(PACKAGES)
        for line in machine:
            console.print(line)
        for name in given.sets or SETS:
            console.print(f"[bold]{name}[/bold]")
            rows += measured(name, folder)
    except (MissingData, FailedSet) as error:
        sys.exit(str(error))
    seconds = time.perf_counter() - started
    console.print(rich_table(rows))
    console.print(verdict(rows), f"Total time {seconds / 60:.1f} minutes.")
    if given.out is not None:
        given.out.write_text(report(rows, machine, seconds))


if __name__ == "__main__":
    main()
