"""Uploads on the disk that gateway and ingestor share, and the child processes that read them.

A directory an upload, named by us: `file` as it came until it is loaded, `upload.json` with what is known of it, and
`series/NNNNN.npz`. It is made under a name that begins with a dot and renamed once it was read, so what is broken or
left by a crash is never seen as an upload.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

import msgspec

from gateway.problems import FieldFault, Problem, not_found, unavailable
from gateway.settings import GatewaySettings
from gateway.uploads.jobs import Changes, ColumnMapping, Done, Inspection, Job, Limits, SplitSeries, column_name

FOLDER = "uploads"
_ID = re.compile(r"[0-9a-f]{32}")
_CHILDREN = 2
_WAIT_SECONDS = 10.0
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
#: A draft that nobody has finished in this time belongs to a gateway that is gone.
_DRAFT_SECONDS = 3600.0
_MAX_LABEL = 200
#: Of each value and time in the file of a series.
_VALUE_BYTES = 8
_T = TypeVar("_T")
#: Of our own environment, what Python needs to find itself; secrets of the gateway stay here.
_PASSED = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """How an upload was loaded."""

    mapping: ColumnMapping
    project: str
    force: bool
    series: tuple[SplitSeries, ...]
    #: What was asked; the same again is a repeat.
    asked: bytes

    @property
    def known_future(self) -> tuple[str, ...]:
        """Return the columns that are known in the future, by their names in the log."""
        return tuple(column_name(name) for name in self.mapping.known_future)


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose an upload is; what came before there were accounts is nobody's, so operators' only."""

    organisation_id: str = ""
    #: Who may change the project may see the upload.
    project: str = ""


NOBODY = Owner()


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an upload."""

    upload_id: str
    #: The client's name of the file: a label, never a path.
    filename: str
    size_bytes: int
    inspection: Inspection
    owner: Owner = NOBODY
    load: Load | None = None
    #: When every series was found to have ended well; its files are gone then.
    arrived_at: datetime | None = None


class Shelf:
    """The uploads of one gateway; safe to call from several threads."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._children = threading.BoundedSemaphore(_CHILDREN)
        #: One upload is split at a time: two requests for the same one must not write over each other.
        self._loading = threading.Lock()
        self.limits = Limits(
            unpacked_bytes=settings.upload_unpacked_bytes,
            rows=settings.upload_max_rows,
            columns=settings.upload_max_columns,
            series=settings.upload_max_series,
            memory_bytes=settings.upload_memory_bytes,
            cpu_seconds=max(int(settings.upload_timeout_seconds), 1),
        )

    def add(self, upload_id: str, receive: Callable[[Limited], str], owner: Owner = NOBODY) -> Upload:
        """Take a file of ``owner`` in: ``receive`` writes it and returns the client's name of it.

        Raises:
            Problem: 409 uploads are off; 422 the file cannot be used; 507 no room. Nothing of it is left then.
        """
        root = self._root()
        room = self._room(root)
        draft = root / f".{upload_id}"
        draft.mkdir()
        try:
            with (draft / "file").open("wb") as raw:
                name = receive(Limited(raw, self._settings.max_upload_bytes, room))
            done = self._run(Job(path=str(draft / "file"), limits=self.limits), draft)
            size = (draft / "file").stat().st_size
            upload = Upload(
                upload_id=upload_id,
                filename=label(name),
                size_bytes=size,
                inspection=_given(done.inspection),
                owner=owner,
            )
            _write(draft, upload)
            draft.rename(root / upload_id)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return upload

    def get(self, upload_id: str) -> Upload:
        """Return an upload.

        Raises:
            Problem: 404; 409 uploads are off.
        """
        path = self._root() / upload_id / "upload.json"
        if _ID.fullmatch(upload_id) is None or not path.is_file():
            raise unknown_upload(upload_id)
        return msgspec.json.decode(path.read_bytes(), type=Upload)

    def give(self, upload: Upload, owner: Owner) -> Upload:
        """Make an upload that is not loaded yet that of ``owner``, such as of a project that was made for it."""
        given = msgspec.structs.replace(upload, owner=owner)
        _write(self._root() / upload.upload_id, given)
        return given

    def load(self, upload_id: str, changes: Changes, *, project: str, name: str, force: bool) -> Upload:
        """Split an upload into its series; the same again changes nothing.

        Raises:
            Problem: 404; 409 it was loaded otherwise; 422 the mapping does not fit the file; 503 another one is split.
        """
        if not self._loading.acquire(timeout=_WAIT_SECONDS):
            raise unavailable("busy", "another upload is being loaded; come again")
        try:
            return self._load(self.get(upload_id), changes, project=project, name=name, force=force)
        finally:
            self._loading.release()

    def _load(self, upload: Upload, changes: Changes, *, project: str, name: str, force: bool) -> Upload:
        asked = msgspec.json.encode((changes, project, name, force))
        folder = self._root() / upload.upload_id
        if upload.load is not None:
            if upload.load.asked != asked:
                raise Problem(409, "upload-loaded", "it was loaded with another mapping before; upload the file again")
            return upload
        series = folder / ".series"
        numbers = sum(column.kind in ("number", "boolean") for column in upload.inspection.columns)
        self._room(self._root(), needed=upload.inspection.rows * _VALUE_BYTES * (numbers + 1))
        try:
            shutil.rmtree(series, ignore_errors=True)  # of a gateway that died in between
            job = Job(
                path=str(folder / "file"), limits=self.limits, changes=changes, directory=str(series), single_name=name
            )
            done = self._run(job, folder)
            shutil.rmtree(folder / "series", ignore_errors=True)
            series.rename(folder / "series")
        except BaseException:
            shutil.rmtree(series, ignore_errors=True)
            raise
        found = Load(mapping=_given(done.mapping), project=project, force=force, series=done.series, asked=asked)
        loaded = msgspec.structs.replace(upload, load=found)
        _write(folder, loaded)
        (folder / "file").unlink(missing_ok=True)
        return loaded

    def remove(self, upload_id: str) -> None:
        """Remove an upload from the disk; what was loaded stays in the log.

        Raises:
            Problem: 404.
        """
        self.get(upload_id)
        shutil.rmtree(self._root() / upload_id)

    def loaded(self) -> Iterator[Upload]:
        """Yield every upload that was loaded; one that is removed meanwhile is passed over."""
        if self._settings.files_directory is None:
            return
        for folder in sorted(self._root().iterdir()):
            if _ID.fullmatch(folder.name) is None:
                continue
            with suppress(Problem, FileNotFoundError):
                upload = self.get(folder.name)
                if upload.load is not None:
                    yield upload

    def put_away(self, upload_id: str, time: datetime) -> None:
        """Remove the files of an upload that is in the log; what is known of it stays."""
        with suppress(Problem, FileNotFoundError):  # somebody has removed all of it
            folder = self._root() / upload_id
            upload = self.get(upload_id)
            # In this order: what a crash leaves over is found again while the time is not written.
            for name in ("series", "file"):
                _remove(folder / name)
            _write(folder, msgspec.structs.replace(upload, arrived_at=time))

    def forget(self, upload_id: str) -> None:
        """Remove an upload, if it is there."""
        shutil.rmtree(self._root() / upload_id, ignore_errors=True)

    def _root(self) -> Path:
        if self._settings.files_directory is None:
            raise Problem(
                409,
                "uploads-off",
                "uploads need a directory that gateway and ingestor share: set FORETOPIC_GATEWAY_FILES_DIRECTORY and "
                "FORETOPIC_INGESTOR_FILES_DIRECTORY to it",
            )
        root = self._settings.files_directory.absolute() / FOLDER
        root.mkdir(parents=True, exist_ok=True)
        return root

    def _room(self, root: Path, needed: int = 1) -> int:
        """Return how many bytes uploads may still take on the disk.

        Raises:
            Problem: 507; less than what is needed.
        """
        used = 0
        for entry in root.iterdir():
            with suppress(FileNotFoundError):  # removed meanwhile
                if entry.name.startswith(".") and entry.stat().st_mtime < time.time() - _DRAFT_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)
                    continue
                used += sum(found.stat().st_size for found in entry.rglob("*") if found.is_file())
        left = self._settings.max_uploads_bytes - used
        if left < needed:
            raise _full(f"{used} are taken, and {needed} more are needed")
        return left

    def _run(self, job: Job, folder: Path) -> Done:
        """Let a child do a job; its answer comes by a file, which has a largest size.

        Raises:
            Problem: 422 what it found wrong, or that it was ended; 503 too many work already.
        """
        answer = folder / "answer.json"
        with self._turn():
            try:
                code = self._child(job, answer)
                if code == 0 and answer.stat().st_size <= _MAX_ANSWER_BYTES:
                    done = msgspec.json.decode(answer.read_bytes(), type=Done)
                else:
                    expected = f"what can be read in {job.limits.memory_bytes} bytes and {job.limits.cpu_seconds} s"
                    done = Done(fault=("file", expected, f"a process that ended with exit code {code}"))
            except subprocess.TimeoutExpired:
                limit = f"{self._settings.upload_timeout_seconds:g} s"
                done = Done(fault=("file", f"what can be read in {limit}", "one that takes longer"))
            finally:
                answer.unlink(missing_ok=True)
        if done.fault is not None:
            field, expected, found = done.fault
            raise Problem(
                422,
                "invalid-upload",
                f"{field}: {expected} was expected, found {found}",
                errors=[FieldFault(field=field, expected=expected, found=found)],
            )
        return done

    def _child(self, job: Job, answer: Path) -> int:
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        # Threads would each take address space, which is limited.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "gateway.uploads.child", str(answer)],
            input=msgspec.json.encode(job),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=self._settings.upload_timeout_seconds,
            check=False,
            start_new_session=True,
        )
        return done.returncode

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._children.acquire(timeout=_WAIT_SECONDS):
            raise unavailable("busy", "other uploads are being read; come again")
        try:
            yield
        finally:
            self._children.release()


class Limited:
    """A file that takes so many bytes and no more."""

    def __init__(self, raw: IO[bytes], max_bytes: int, room: int) -> None:
        self._raw = raw
        self._written = 0
        self._room = room
        self.max_bytes = max_bytes

    def write(self, data: bytes) -> int:
        """Write ``data``.

        Raises:
            Problem: 413 it is too large for any upload; 507 for what is left of the disk.
        """
        self._written += len(data)
        if self._written > self._room:
            raise _full(f"a file of more than the {self._room} that are left came")
        if self._written > self.max_bytes:
            raise Problem(
                413,
                "body-too-large",
                f"a file of at most {self.max_bytes} bytes was expected, found a larger one",
                headers={"Connection": "close"},  # the rest of the body is not read
            )
        return self._raw.write(data)

    def read(self, _size: int = -1) -> bytes:
        """Return nothing: the file is only written."""
        return b""

    def seek(self, _offset: int, _whence: int = 0) -> int:
        """Do nothing: who parses a form rewinds what it has written."""
        return 0


def unknown_upload(upload_id: str) -> Problem:
    """Return the answer for an upload that does not exist, or not for the caller."""
    return not_found("upload", upload_id[:100], "POST /api/v1/uploads makes one")


def label(name: str) -> str:
    r"""Return the last part of a client's file name, for people to read.

    >>> label("../../etc/passwd"), label("C:\\data\\sales.csv"), label("")
    ('passwd', 'sales.csv', 'upload')
    """
    last = PurePosixPath(name.replace("\\", "/")).name
    return "".join(letter for letter in last if letter.isprintable())[:_MAX_LABEL] or "upload"


def _full(why: str) -> Problem:
    return Problem(
        507,
        "uploads-full",
        f"uploads may take FORETOPIC_GATEWAY_MAX_UPLOADS_BYTES together; {why}; what is loaded goes once it is in the "
        "log, and DELETE /api/v1/uploads/{upload_id} removes an upload",
        headers={"Connection": "close"},  # the rest of a body is not read
    )


def _given(found: _T | None) -> _T:
    if found is None:
        raise TypeError("an answer was expected of the child, found none")
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write(folder: Path, upload: Upload) -> None:
    draft = folder / ".upload.json"
    draft.write_bytes(msgspec.json.encode(upload))
    draft.replace(folder / "upload.json")
