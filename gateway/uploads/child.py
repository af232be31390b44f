"""The child process that reads what others wrote: ``python -m gateway.uploads.child ANSWER_FILE`` with a job on stdin.

It limits itself before it imports anything that parses: address space, processor time, size of the files it writes.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import msgspec

from gateway.uploads.jobs import Done, Job, UploadFault
from runtime.process_limits import limit_process


def work(job: Job) -> Done:
    """Return what came of a job."""
    from gateway.uploads.guessing import Sheet, inspect  # noqa: PLC0415  # Arrow and NumPy, below the limits
    from gateway.uploads.reading import read  # noqa: PLC0415
    from gateway.uploads.splitting import size_of, split  # noqa: PLC0415

    try:
        # Nobody else holds the table, so that what the sheet lets go of is free.
        sheet = Sheet(*read(Path(job.path), job.limits), job.limits)
        inspection = inspect(sheet, job.changes)
        if job.directory is None:
            return Done(inspection=inspection)
        needed = size_of(inspection)
        if needed > job.room:
            return Done(lacks_room_for=needed)
        found = split(sheet, inspection.mapping, Path(job.directory), job.single_name)
        return Done(inspection=inspection, series=tuple(found))
    except UploadFault as fault:
        return Done(fault=(fault.field, fault.expected, fault.found))
    except MemoryError:  # Arrow's is one too
        expected = f"a table that fits into {job.limits.memory_bytes} bytes of memory"
        return Done(fault=("file", expected, "one that takes more"))


class _WithoutPandas(MetaPathFinder):
    """Says that pandas is not there: where it is, Arrow loads it with the first list that it is given.

    ``None`` in `sys.modules` does not say so to compiled code that asks for it first.
    """

    def find_spec(self, name: str, *_: object) -> None:
        """Find nothing, and let nobody else find pandas."""
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not loaded here", name=name)


def main() -> None:
    """Be the child."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    limits = job.limits
    limit_process(memory_bytes=limits.memory_bytes, cpu_seconds=limits.cpu_seconds, file_bytes=limits.unpacked_bytes)
    sys.meta_path.insert(0, _WithoutPandas())
    answer = Path(sys.argv[1])
    answer.write_bytes(msgspec.json.encode(work(job)))
    # Arrow reads ahead in a thread that calls us for bytes; Python, ending in its usual way, can lock or abort there.
    os._exit(0)


if __name__ == "__main__":
    main()
