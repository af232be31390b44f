"""Files that are no tables, or tables that would take the machine: a clear problem, and nothing left on the disk."""

from __future__ import annotations

import gzip
import io
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest

from gateway.problems import Problem
from gateway.uploads.child_processes import Readers
from gateway.uploads.jobs import Job, Limits
from tests.unit.gateway.uploaded import MIB, left, parquet_of, send, shops, uploading
from tests.unit.gateway.world import World
from tests.unit.runtime import parquet_lies as lies

DAYS = pa.array(np.arange(100).astype("datetime64[D]"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("attacked")
    with uploading(
        folder,
        max_upload_bytes=8 * MIB,
        upload_unpacked_bytes=64 * MIB,
        upload_memory_bytes=1024 * MIB,
        upload_max_rows=500_000,
        upload_max_series=2,
        upload_timeout_seconds=120.0,
    ) as started:
        yield started


def csv_of(*lines: str) -> bytes:
    return "\n".join(("date,sales", "2024-01-01,1", *lines)).encode() + b"\n"


def footer_claims(claim: int) -> bytes:
    """Return a small Parquet file whose last bytes claim another length of its footer."""
    good = parquet_of(pa.table({"date": DAYS, "sales": np.arange(100.0)}))
    return good[:-8] + struct.pack("<I", claim) + b"PAR1"


def claims_many_rows() -> bytes:
    """Return a Parquet file of some hundred bytes that holds four thousand million bytes when decoded."""
    zeros = pa.table({"date": pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), DAYS[:1])})
    return parquet_of(zeros, compression="zstd")


def zstd_bomb() -> bytes:
    """Return pages that pack better than 1000:1; their size stands in the footer."""
    zeros = np.zeros(400_000)
    table = pa.table({f"c{number}": zeros for number in range(40)} | {"date": np.zeros(400_000, "datetime64[s]")})
    return parquet_of(table, compression="zstd", use_dictionary=False, write_statistics=False)


def fat_dictionary() -> bytes:
    """Return a file whose footer tells of little: one text of a million letters, once, for every row."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(400_000, np.int32)), pa.array(["x" * MIB]))
    table = pa.table({"date": np.zeros(400_000, "datetime64[s]"), "text": text})
    return parquet_of(table, compression="zstd", store_schema=False)


def pages_beyond_their_footer() -> bytes:
    """Return pages of 1.5 GB that pack 1000:1, below a footer that tells of 300 bytes."""
    texts = pa.array(["x" * 993 + f"{number:07}" for number in range(500_000)])
    table = pa.table({"date": np.zeros(500_000, "datetime64[s]"), "a": texts, "b": texts, "c": texts})
    content = parquet_of(table, compression="zstd", use_dictionary=False, store_schema=False, write_statistics=False)

    def little(footer: lies.Struct) -> None:
        for group in lies.groups(footer):
            for chunk in lies.chunks(group):
                lies.put(chunk, lies.UNCOMPRESSED, 100)

    return lies.lying(content, little)


def lying(lie: Callable[[lies.Struct], object]) -> bytes:
    """Return a small honest file with a footer that is not."""
    table = pa.table({"date": np.arange(100).astype("datetime64[s]"), "sales": np.arange(100.0)})
    return lies.lying(parquet_of(table, store_schema=False, use_dictionary=False), lie)


def many_columns() -> bytes:
    return parquet_of(pa.table({f"c{number}": pa.array([1.0]) for number in range(3000)}))


def endless_line() -> bytes:
    return b"date,sales\n2024-01-01," + b"1" * (4 * MIB)


def broken_footer() -> bytes:
    good = parquet_of(pa.table({"date": DAYS, "sales": np.arange(100.0)}))
    size = int.from_bytes(good[-8:-4], "little")
    return good[: -8 - size] + b"\xff" * size + good[-8:]


ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "parquet that claims a footer of 4 GB": (lambda: footer_claims(0xFFFFFFF0), "within the"),
    "parquet that claims a footer of 0 bytes": (lambda: footer_claims(0), "whole Parquet file"),
    "parquet of some bytes with a million rows": (claims_many_rows, "at most 500000 rows"),
    "pages that pack 1000:1": (zstd_bomb, "bytes unpacked"),
    "a dictionary that fills the memory": (fat_dictionary, "memory"),
    "pages that claim less than they decode to": (pages_beyond_their_footer, "memory"),
    "fewer rows than its groups have": (
        lambda: lying(lambda f: lies.put(lies.groups(f)[0], lies.GROUP_ROWS, 10**9)),
        "the 100 rows of the footer",
    ),
    "pages beyond the end of the file": (
        lambda: lying(lambda f: [lies.put(c, lies.DATA_PAGE_OFFSET, 10**12) for c in lies.chunks(lies.groups(f)[0])]),
        "whole Parquet file",
    ),
    "pages of another column": (
        lambda: lying(lambda f: [lies.put(c, lies.DATA_PAGE_OFFSET, 5) for c in lies.chunks(lies.groups(f)[0])]),
        "whole Parquet file",
    ),
    "nulls that decode to 400 MB": (
        lambda: parquet_of(pa.table({f"c{n}": pa.nulls(500_000, pa.float64()) for n in range(100)})),
        "by its rows and columns",
    ),
    "thousands of columns in parquet": (many_columns, "at most 2000 columns"),
    "nothing but lists": (
        lambda: parquet_of(pa.table({"date": pa.array([[1]] * 9), "sales": pa.array([[2.0]] * 9)})),
        "none that is not nested",
    ),
    "half a parquet file": (lambda: footer_claims(0)[:400], "half a file"),
    "broken footer": (broken_footer, "whole Parquet file"),
    "only the magic": (lambda: b"PAR1", "half a file"),
    "a million columns": (lambda: b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n1\n", "lines of at most"),
    "three thousand columns": (lambda: b",".join(b"c%d" % n for n in range(3000)) + b"\n1\n", "at most 2000 columns"),
    "an endless line": (endless_line, "lines of at most"),
    "an endless first line": (lambda: b"x" * (3 * MIB), "lines of at most"),
    "an open quote": (lambda: csv_of('2024-01-02,"1', *["2024-01-03,1"] * 400_000), "at most|cells|whole"),
    "a gzip bomb": (lambda: gzip.compress(b"date,sales\n" + b"2024-01-01,%1000d\n" % 1 * 70_000, 1), "bytes of text"),
    "a gzip of many rows": (
        lambda: gzip.compress(b"date,sales\n" + b"2024-01-01,1\n" * 600_000),
        "at most 500000 rows",
    ),
    "a bomb within a bomb": (lambda: gzip.compress(gzip.compress(b"\0" * (64 * MIB))), "NUL|UTF-8|line"),
    "half a gzip": (lambda: gzip.compress(shops())[:-40], "half of one"),
    "broken gzip": (lambda: gzip.compress(shops())[:30] + b"\xff" * 40, "gzip"),
    "rubbish behind a gzip": (lambda: gzip.compress(shops()) + b"rubbish", "gzip"),
    "UTF-16": (lambda: shops().decode().encode("utf-16"), "begins with its mark"),
    "UTF-16 without its mark": (lambda: shops().decode().encode("utf-16-le"), "NUL"),
    "Latin-1": (lambda: csv_of("2024-01-02,2").replace(b"sales", "Umsätze".encode("latin-1")), "Latin-1"),
    "NUL bytes": (lambda: csv_of("2024-01-02,\x002"), "NUL"),
    "empty": (lambda: b"", "an empty file"),
    "one empty line": (lambda: b"\n", "at least two column names"),
    "names alone": (lambda: b"date,sales\n", "no row"),
    "rows of other lengths": (lambda: csv_of("2024-01-02,2,3"), "as many cells"),
    "a column twice": (lambda: b"date,Sales,sales\n2024-01-01,1,2\n", "once"),
    "no times": (lambda: b"name,sales\nx,1\ny,2\n", "a column of times"),
    "ambiguous times": (lambda: b"date,sales\n03/04/2024,1\n", "03/04/2024"),
    "no numbers": (lambda: b"date,word\n2024-01-01,x\n", "column of numbers"),
    "nothing but formulas": (lambda: b"date,sales\n2024-01-01,=cmd|' /C calc'!A0\n", "column of numbers"),
    "HTML": (lambda: b"<!doctype html><p>a, b</p>\n<p>Moved, permanently</p>\n", "HTML"),
    "JSON": (lambda: b'{"date": "2024-01-01", "sales": 1}\n', "HTML or JSON"),
    "a workbook": (lambda: b"PK\x03\x04" + b"x" * 100, "Excel"),
    "a picture": (lambda: b"\x89PNG\r\n\x1a\n" + b"x" * 100, "an image"),
    "noise": (lambda: np.random.default_rng(1).bytes(5000), "file"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_refused_in_words_and_leaves_nothing(world: World, name: str) -> None:
    make, said = ATTACKS[name]
    content = make()
    lay, before = left(world), psutil.Process().memory_info().rss

    answer = send(world, content, "sales.csv")

    assert answer.status_code == 422, answer.text
    problem = answer.get_json()
    assert problem["type"] == "/problems/invalid-upload"
    fault = problem["errors"][0]
    assert all(fault.values())
    assert re.search(said, problem["detail"]), problem["detail"]
    assert left(world) == lay
    # Without the child (`Readers._child`) what is unpacked would be ours: hundreds of MiB.
    assert psutil.Process().memory_info().rss - before < 64 * MIB
    assert world.client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("names", "said"),
    [(("Berlin", "Hamburg", "Bremen"), "at most 2 series"), (("a b", "a/b"), "differ in letters")],
)
def test_series_that_are_too_many_or_one_are_not_loaded(world: World, names: tuple[str, ...], said: str) -> None:
    """Red without the number of names in `split`, or the look at two that become one in `_names`."""
    path = f"/api/v1/uploads/{send(world, shops(names=names)).get_json()['upload_id']}"
    answer = world.client.post(f"{path}/load", json={"series": "shop"})
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "series")
    assert said in answer.get_json()["detail"]
    assert world.client.delete(path).status_code == 200


def test_file_larger_than_it_may_be_is_cut_off(world: World) -> None:
    form = send(world, b"x" * (9 * MIB))
    assert (form.status_code, form.get_json()["type"]) == (413, "/problems/body-too-large")
    unsaid = world.client.post(
        "/api/v1/uploads?filename=x.csv",
        input_stream=io.BytesIO(b"x" * (9 * MIB)),
        content_type="text/csv",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert (unsaid.status_code, unsaid.get_json()["type"]) == (413, "/problems/body-too-large")
    assert left(world) == []


def test_file_a_little_larger_than_it_may_be_is_cut_off_too(world: World) -> None:
    """Red without the count in `Limited.write`: a body has room for what a form has beside its file."""
    answer = send(world, b"x" * (8 * MIB + 1000))
    assert (answer.status_code, answer.get_json()["type"]) == (413, "/problems/body-too-large")
    assert left(world) == []


@pytest.mark.parametrize("fields", [{"note": "x" * MIB}, {f"f{number}": "x" for number in range(101)}])
def test_form_holds_little_beside_its_file(world: World, fields: dict[str, str]) -> None:
    """Red without the limits of `FormDataParser` in `Receiver._form`: what is no file is kept in memory."""
    part = '--frontier\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    body = "".join(part.format(*field) for field in fields.items()) + "--frontier--\r\n"
    answer = world.client.post("/api/v1/uploads", data=body, content_type="multipart/form-data; boundary=frontier")
    assert (answer.status_code, answer.get_json()["type"]) == (413, "/problems/body-too-large")
    assert left(world) == []


def test_form_without_a_file_or_with_two(world: World) -> None:
    for form in ({"note": "x"}, {"a": (io.BytesIO(shops()), "a.csv"), "b": (io.BytesIO(shops()), "b.csv")}):
        answer = world.client.post("/api/v1/uploads", data=form, content_type="multipart/form-data")
        assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "file")
    assert left(world) == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../x.csv", "x.csv"),
        ("/etc/passwd", "passwd"),
        ("C:\\a\\b.csv", "b.csv"),
        ("a\r\nb.csv", "ab.csv"),
        ("x" * 300, "x" * 200),
    ],
)
def test_names_of_clients_are_labels(tmp_path: Path, world: World, name: str, shown: str) -> None:
    answer = world.client.post(
        "/api/v1/uploads", query_string={"filename": name}, data=shops(), content_type="text/csv"
    )
    assert answer.status_code == 201, answer.text
    upload = answer.get_json()
    assert upload["filename"] == shown
    assert left(world) == [upload["upload_id"]]
    world.client.delete(f"/api/v1/uploads/{upload['upload_id']}")


def test_formula_cells_stay_text_and_are_told(world: World) -> None:
    answer = send(
        world,
        csv_of("2024-01-02,2")
        .replace(b",1\n", b",=1+1\n")
        .replace(b"sales", b"a,sales")
        .replace(b"01,", b"01,7,")
        .replace(b"02,", b"02,8,"),
    )
    upload = answer.get_json()
    assert upload["mapping"]["columns"] == ["a"]
    assert any("column sales: 1 cells look like formulas" in note for note in upload["inspection"]["notes"])
    world.client.delete(f"/api/v1/uploads/{upload['upload_id']}")


def answered(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> str:
    """Return what is said when a program of these lines stands in for the child, its answer's path in ``$3``."""
    child = folder / "child"
    child.write_text("\n".join(("#!/bin/sh", *lines)))
    child.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(child))
    limits = Limits(unpacked_bytes=1, rows=1, columns=1, series=1, memory_bytes=1, cpu_seconds=1)
    with pytest.raises(Problem) as refused:
        Readers(60.0).run(Job(path="x", limits=limits), folder, "")
    assert (refused.value.status, refused.value.code) == (422, "invalid-upload")
    assert [path.name for path in folder.iterdir() if path.name == "answer.json"] == []
    return refused.value.detail


def test_child_has_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when `Readers._child` passes more than `_PASSED`: a child that a file has taken over would have secrets."""
    monkeypatch.setenv("FORETOPIC_GATEWAY_PLANTED", "secret")
    answered(tmp_path, monkeypatch, f"env > {tmp_path}/seen", "exit 3")
    seen = (tmp_path / "seen").read_text()
    assert "PATH=" in seen
    assert "secret" not in seen


def test_child_that_ends_badly_or_says_too_much_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without the look at the code, or at the size of the answer, in `Readers.run`."""
    assert "exit code 3" in answered(tmp_path, monkeypatch, 'echo "{}" > "$3"', "exit 3")
    assert "exit code 0" in answered(tmp_path, monkeypatch, 'truncate -s 17M "$3"')


def test_reading_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    with uploading(tmp_path, upload_timeout_seconds=0.05) as slow:
        answer = send(slow, shops())
        assert (answer.status_code, "0.05 s" in answer.get_json()["detail"]) == (422, True)
        assert left(slow) == []


def test_uploads_take_no_more_room_than_they_may(tmp_path: Path) -> None:
    content = shops()
    with uploading(tmp_path, max_uploads_bytes=len(content) + 100) as small:
        too_large = send(small, content + b"Berlin,2024-02-01,1,0,fine\n" * 10)
        assert (too_large.status_code, too_large.get_json()["type"]) == (507, "/problems/uploads-full")
        assert left(small) == []
        assert send(small, shops()).status_code == 201
        answer = send(small, shops())
        assert (answer.status_code, answer.get_json()["type"]) == (507, "/problems/uploads-full")
        assert len(left(small)) == 1
