"""Uploads leave the disk once they have arrived in the log, never before, whatever is cut off."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.problems import Problem
from gateway.settings import GatewaySettings
from gateway.uploads import shelf as shelves
from gateway.uploads import tidying
from gateway.uploads.jobs import Changes
from gateway.uploads.rooms import NOBODY, draft_name
from gateway.uploads.shelf import Limited, Shelf, Wish
from gateway.uploads.tidying import Tidying
from tests.fakes import ManualClock
from tests.unit.gateway.test_uploads import ended, ingest_all
from tests.unit.gateway.uploaded import left, send, shops, uploading
from tests.unit.gateway.world import wait_until

UPLOAD = "0" * 32
SERIES = ["0", "1"]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A shelf with one upload of two series that was loaded, and one that was not."""
    shelf = Shelf(GatewaySettings(accounts="local", home=tmp_path, files_directory=tmp_path / "files"))

    def receive(target: Limited) -> str:
        target.write(shops())
        return "shops.csv"

    for upload_id in (UPLOAD, "1" * 32):
        shelf.add(upload_id, receive)
    load(shelf)
    return shelf


def load(shelf: Shelf) -> None:
    shelf.load(UPLOAD, Wish(changes=Changes(), project="shops", name="", force=False))


@pytest.fixture
def tidy(shelf: Shelf, clock: ManualClock) -> Callable[..., None]:
    """Look through the shelf once, with these states of the two series in the log."""
    states: dict[str, str] = {}
    tidying = Tidying(
        shelf,
        ingest_ids=lambda _: SERIES,
        states=lambda ids: {one: states[one] for one in ids if one in states},
        clock=clock,
        keep=timedelta(days=30),
    )

    def tidy(*now: str) -> None:
        states.clear()
        states.update(zip(SERIES, now, strict=False))
        tidying.turn()

    return tidy


def files(tmp_path: Path, upload_id: str = UPLOAD) -> list[str]:
    folder = tmp_path / "files" / "uploads" / upload_id
    # Not by `rglob`, which raises where a directory is removed while it looks.
    found = (Path(at, name) for at, _, names in os.walk(folder) for name in names)
    return sorted(path.relative_to(folder).as_posix() for path in found)


WHOLE = ["series/00000.npy", "series/00001.npy", "upload.json"]


@pytest.mark.parametrize(
    "states",
    [(), ("running",), ("succeeded",), ("succeeded", "running"), ("succeeded", "failed"), ("failed", "succeeded")],
)
def test_nothing_goes_before_every_series_has_ended_well(shelf, tidy, tmp_path, states) -> None:
    """Red when `_has_arrived` takes a part for the whole, or a failure for an end."""
    tidy(*states)
    tidy(*states)
    assert files(tmp_path) == WHOLE


def test_files_go_and_what_is_known_stays(shelf, tidy, tmp_path, clock) -> None:
    tidy("succeeded", "running")
    tidy("succeeded", "succeeded")

    assert files(tmp_path) == ["upload.json"]
    assert files(tmp_path, "1" * 32) == ["file", "upload.json"]
    upload = shelf.get(UPLOAD)
    assert (upload.arrived_at, upload.load.series[0].rows) == (clock.now(), 20)
    load(shelf)  # a repeat needs no files
    assert files(tmp_path) == ["upload.json"]


def test_what_is_known_goes_some_days_later(shelf, tidy, tmp_path, clock) -> None:
    tidy("succeeded", "succeeded")
    clock.advance(timedelta(days=30).total_seconds() - 1)
    tidy("succeeded", "succeeded")
    assert files(tmp_path) == ["upload.json"]

    clock.advance(1)
    tidy("succeeded", "succeeded")
    assert [upload.name for upload in (tmp_path / "files" / "uploads").iterdir()] == ["1" * 32]


@pytest.mark.parametrize("cut", ["_write", "_remove"])
def test_tidying_that_was_cut_off_is_done_again(shelf, tidy, tmp_path, monkeypatch, cut: str) -> None:
    original = getattr(shelves, cut)

    def crash(path: Path, *rest: object) -> None:
        if cut == "_remove":
            (path / "00000.npy").unlink()  # half of it is done
        raise KeyboardInterrupt

    monkeypatch.setattr(shelves, cut, crash)
    with pytest.raises(KeyboardInterrupt):
        tidy("succeeded", "succeeded")
    assert shelf.get(UPLOAD).arrived_at is None
    monkeypatch.setattr(shelves, cut, original)

    tidy("succeeded", "succeeded")
    assert files(tmp_path) == ["upload.json"]
    assert shelf.get(UPLOAD).arrived_at is not None


def test_what_is_not_named_by_us_is_no_upload(tmp_path) -> None:
    """Red without `_ID` in `Shelf.get`: a draft, or a folder elsewhere, could be loaded and removed."""
    shelf = Shelf(GatewaySettings(accounts="local", home=tmp_path, files_directory=tmp_path / "files"))
    uploads = tmp_path / "files" / "uploads"
    for name in ("../elsewhere", draft_name("2" * 32, NOBODY)):
        (uploads / name).mkdir(parents=True)
        (uploads / name / "upload.json").write_text("{}")
        with pytest.raises(Problem, match="a known upload"):
            shelf.remove(name)


def test_one_upload_is_loaded_by_one_at_a_time(shelf, monkeypatch) -> None:
    """Red without `_loading` in `Shelf.load`: two would write over each other."""
    monkeypatch.setattr(shelves, "_WAIT_SECONDS", 0.01)
    loading = shelf._loading.setdefault(UPLOAD, threading.Lock())
    with loading, pytest.raises(Problem, match="is being loaded"):
        load(shelf)
    load(shelf)


def test_load_that_was_cut_off_is_in_no_ones_way(shelf, tmp_path, monkeypatch) -> None:
    """Red without either removal of `.series` in `Shelf._load`: the disk would stay full, or no load go well again."""
    upload_id = "1" * 32
    half = tmp_path / "files" / "uploads" / upload_id / ".series"
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\nmkdir {half}; echo half > {half}/00000.npy; exit 9\n")
    child.chmod(0o700)
    wish = Wish(changes=Changes(), project="shops", name="", force=False)
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", str(child))
        with pytest.raises(Problem, match="exit code 9"):
            shelf.load(upload_id, wish)
    assert files(tmp_path, upload_id) == ["file", "upload.json"]

    half.mkdir()  # of a gateway that died
    shelf.load(upload_id, wish)
    assert files(tmp_path, upload_id) == WHOLE


def test_upload_that_is_removed_meanwhile_is_no_matter(shelf, tidy, monkeypatch) -> None:
    found = list(shelf.loaded())
    shelf.remove(UPLOAD)
    monkeypatch.setattr(shelf, "loaded", lambda: iter(found))
    tidy("succeeded", "succeeded")


def test_disk_is_free_again_once_all_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room on the shelf is that of one upload: the second fits when the first has arrived, and not before."""
    monkeypatch.setattr(tidying, "PAUSE_SECONDS", 0.02)
    content = shops()
    with uploading(tmp_path, max_uploads_bytes=3700) as world:
        world.settle()
        upload = send(world, content, "shops.csv", "?load=true").get_json()
        path = f"/api/v1/uploads/{upload['upload_id']}"
        refused = send(world, content)
        assert (refused.status_code, refused.get_json()["type"]) == (507, "/problems/uploads-full")
        assert re.search("that are left came|more are needed", refused.get_json()["detail"])
        assert left(world) == [upload["upload_id"]]

        ingest_all(world)
        series = wait_until(lambda: ended(world, path), "the end of every ingest")
        assert {line["ingest"]["state"] for line in series} == {"succeeded"}
        wait_until(lambda: files(tmp_path, upload["upload_id"]) == ["upload.json"], "the disk")
        assert send(world, content).status_code == 201
        assert ended(world, path) == series
        rows = world.client.get("/api/v1/series/uploads/Berlin@1d/observations").get_json()
        assert len(rows["observations"]["columns"]["sales"]) == 20


def test_series_of_an_upload_need_room_too(tmp_path: Path) -> None:
    """Red without the look at the room in `child.work`: the file itself fits, its series do not."""
    with uploading(tmp_path / "measured") as world:
        send(world, shops())
        used = sum(path.stat().st_size for path in (tmp_path / "measured" / "files").rglob("*") if path.is_file())
    with uploading(tmp_path, max_uploads_bytes=used + 900) as world:
        world.settle()
        upload_id = send(world, shops()).get_json()["upload_id"]
        answer = world.client.post(f"/api/v1/uploads/{upload_id}/load", json={})
        assert (answer.status_code, answer.get_json()["type"]) == (507, "/problems/uploads-full")
        assert "960 more are needed" in answer.get_json()["detail"]  # 40 rows of a time, sales and a promotion
        assert files(tmp_path, upload_id) == ["file", "upload.json"]
    with uploading(tmp_path / "at-once", max_uploads_bytes=len(shops()) + 900) as world:
        world.settle()
        at_once = send(world, shops(), query="?load=true")
        assert (at_once.status_code, at_once.get_json()["type"]) == (507, "/problems/uploads-full")
        assert left(world) == []
