"""The process that reads an upload: what it takes and refuses, what it leaves out, and how it ends."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from gateway.uploads.child_processes import Readers
from gateway.uploads.jobs import Changes, Job, Limits, UploadFault
from gateway.uploads.reading import MAX_LINE_BYTES, read
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


def limited(**changes: int) -> Limits:
    most = {"unpacked_bytes": MIB, "rows": 1000, "columns": 10, "series": 10, "memory_bytes": 1, "cpu_seconds": 1}
    return Limits(**most | changes)


def found_in(folder: Path, content: bytes, limits: Limits) -> tuple[int, int] | str:
    """Return the rows and columns of a CSV, or what is wrong with it."""
    path = folder / "sales.csv"
    path.write_bytes(content)
    try:
        return read(path, limits)[1].shape
    except UploadFault as fault:
        return str(fault)


CSV = b"date,sales\n2024-01-01,1\n2024-01-02,2\n"


@pytest.mark.parametrize(
    ("content", "changes", "one_less", "said"),
    [
        (CSV, {"rows": 2}, {"rows": 1}, "at most 1 rows"),
        (CSV, {"columns": 2}, {"columns": 1}, "at most 1 columns"),
        (CSV, {"unpacked_bytes": len(CSV)}, {"unpacked_bytes": len(CSV) - 1}, "bytes of text"),
        (gzip.compress(CSV), {"unpacked_bytes": len(CSV)}, {"unpacked_bytes": len(CSV) - 1}, "bytes of text"),
    ],
)
def test_a_csv_may_be_just_as_large_as_its_limits(
    tmp_path: Path, content: bytes, changes: dict[str, int], one_less: dict[str, int], said: str
) -> None:
    """Red where a comparison of `gateway.uploads.reading` lets one more through, or refuses the most that may be."""
    assert found_in(tmp_path, content, limited(**changes)) == (2, 2)
    assert said in found_in(tmp_path, content, limited(**one_less))


def test_a_line_may_be_just_as_long_as_it_may_be_wherever_it_is_cut(tmp_path: Path) -> None:
    """Red where the line of one chunk is not counted on in the next, or the bound is another one."""
    line = b"2024-01-01,".ljust(MAX_LINE_BYTES, b"1")
    # The chunks that are read are as long as a line may be: each of these begins in one and ends in another.
    assert found_in(tmp_path, b"date,sales\n" + line + b"\n", limited(unpacked_bytes=4 * MIB)) == (1, 2)
    said = found_in(tmp_path, b"date,sales\n" + line + b"1\n", limited(unpacked_bytes=4 * MIB))
    assert f"lines of at most {MAX_LINE_BYTES} bytes" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CSV + "2024-01-03,é".encode()[:-1], "text in UTF-8"),  # half a letter at the end: red without `final`
        ("date,sales\n2024-01-01,é\n".encode("latin-1"), "0xe9"),
        (gzip.compress(CSV)[:-9], "half of one"),
        (gzip.compress(CSV) + gzip.compress(CSV)[:12], "half of one"),
        (CSV.replace(b"\n", b"\r"), "carriage returns alone"),
        (CSV + b"2024-01-03,3\0\n", f"one at byte {len(CSV) + 12}"),
        (b"date,sales\n2024-01-01,1,1\n", "as many cells as the first"),
        (b"date,DATE,sales\n1,1,1\n", "'date' again"),
    ],
)
def test_what_is_wrong_with_a_text_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    found = found_in(tmp_path, content, limited())
    assert isinstance(found, str)
    assert said in found


def test_a_mark_at_the_beginning_and_members_of_gzip_are_no_part_of_the_text(tmp_path: Path) -> None:
    """Red without `removeprefix`, or where `_Unpacked` ends with the first member."""
    path = tmp_path / "sales.csv"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + CSV) + gzip.compress(b"2024-01-03,3\n"))
    kind, table = read(path, limited())
    assert (kind, table.column_names, len(table)) == ("csv.gz", ["date", "sales"], 3)
