"""The process that reads an upload: what it leaves out, and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.uploads.child_processes import Readers
from gateway.uploads.jobs import Changes, Job, Limits
from tests.unit.gateway.uploaded import MIB, shops

#: Each writes down that it was run, next to itself.
_PANDAS = 'from pathlib import Path\nPath(__file__).parent.with_name("pandas-was-loaded").touch()\n'
_LAST = """import atexit
from pathlib import Path
atexit.register(Path(__file__).with_name("python-ended-by-itself").touch)
Path(__file__).with_name("python-began").touch()
"""


def test_the_child_loads_no_pandas_and_does_not_wait_for_python_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without `_WithoutPandas`, and without `os._exit`, in `gateway.uploads.child`.

    Arrow would load pandas, which takes a second and half of the memory, with the first list; and a thread of Arrow may
    still ask Python for bytes while that ends: it locks, or aborts.
    """
    (tmp_path / "pandas").mkdir()
    (tmp_path / "pandas" / "__init__.py").write_text(_PANDAS)
    (tmp_path / "sitecustomize.py").write_text(_LAST)
    (tmp_path / "sales.csv").write_bytes(shops())
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    limits = Limits(unpacked_bytes=MIB, rows=1000, columns=10, series=10, memory_bytes=2048 * MIB, cpu_seconds=60)
    job = Job(
        path=str(tmp_path / "sales.csv"),
        limits=limits,
        changes=Changes(series="shop"),
        directory=str(tmp_path / "series"),
        room=10 * MIB,
    )

    done = Readers(60.0).run(job, tmp_path, "")

    assert len(done.series) == 2
    assert (tmp_path / "python-began").exists()
    assert not (tmp_path / "pandas-was-loaded").exists()
    assert not (tmp_path / "python-ended-by-itself").exists()
