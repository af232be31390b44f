"""Uploads on the disk that gateway and ingestor share, and the child processes that read them.

A directory an upload, named by us: `file` as it came until it is loaded, `upload.json` with what is known of it, and
`series/NNNNN.npz`. It is made under a name that begins with a dot and renamed once it was read, so what is broken or
left by a crash is never seen as an upload.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

import msgspec

from gateway.problems import Problem, not_found, unavailable
from gateway.settings import GatewaySettings
from gateway.uploads.child_processes import Readers
from gateway.uploads.jobs import Changes, ColumnMapping, Done, Inspection, Job, Limits, SplitSeries, column_name

FOLDER = "uploads"
_ID = re.compile(r"[0-9a-f]{32}")
_WAIT_SECONDS = 10.0
#: A draft that nobody has finished in this time belongs to a gateway that is gone.
_DRAFT_SECONDS = 3600.0
_MAX_LABEL = 200
_T = TypeVar("_T")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How an upload is to be loaded."""

    changes: Changes
    #: First part of the name of each series.
    project: str
    #: Name of the only series of a file.
    name: str
    force: bool

    @property
    def encoded(self) -> bytes:
        """Return it so that equal wishes are equal bytes."""
        return msgspec.json.encode((self.changes, self.project, self.name, self.force))


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

    def require_load(self) -> Load:
        """Return how it was loaded.

        Raises:
            ValueError: It was not loaded yet.
        """
        if self.load is None:
            raise ValueError(f"upload {self.upload_id} was to be loaded, it is only inspected")
        return self.load


class Shelf:
    """The uploads of one gateway; safe to call from several threads."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._readers = Readers(settings.upload_timeout_seconds)
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

    def add(
        self,
        upload_id: str,
        receive: Callable[[Limited], str],
        owner: Owner = NOBODY,
        wish_for: Callable[[str], Wish] | None = None,
    ) -> Upload:
        """Take a file of ``owner`` in, and load it too where it is known how.

        Args:
            upload_id: Its name on the shelf.
            receive: Writes the file and returns the client's name of it.
            owner: Whose it is.
            wish_for: Tells by the label of the file how it is loaded; without, it is inspected.

        Raises:
            Problem: 409 uploads are off; 422 the file cannot be used; 507 no room. Nothing of it is left then.
        """
        root = self._root()
        room = self._room(root)
        draft = root / f".{upload_id}"
        draft.mkdir()
        try:
            with (draft / "file").open("wb") as raw:
                filename = label(receive(Limited(raw, self._settings.max_upload_bytes, room)))
            size = (draft / "file").stat().st_size
            wish = wish_for(filename) if wish_for else None
            job = Job(path=str(draft / "file"), limits=self.limits)
            done = self._run(job if wish is None else self._splitting(job, draft / "series", wish), draft)
            upload = Upload(
                upload_id=upload_id,
                filename=filename,
                size_bytes=size,
                inspection=_given(done.inspection),
                owner=owner,
                load=_load_of(wish, done),
            )
            _write(draft, upload)
            if wish is not None:
                (draft / "file").unlink()
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

    def load(self, upload_id: str, wish: Wish) -> Upload:
        """Split an upload into its series; the same again changes nothing.

        Raises:
            Problem: 404; 409 it was loaded otherwise; 422 the mapping does not fit the file; 503 another one is split;
                507 no room.
        """
        if not self._loading.acquire(timeout=_WAIT_SECONDS):
            raise unavailable("busy", "another upload is being loaded; come again")
        try:
            return self._load(self.get(upload_id), wish)
        finally:
            self._loading.release()

    def _load(self, upload: Upload, wish: Wish) -> Upload:
        folder = self._root() / upload.upload_id
        if upload.load is not None:
            if upload.load.asked != wish.encoded:
                raise Problem(409, "upload-loaded", "it was loaded with another mapping before; upload the file again")
            return upload
        series = folder / ".series"
        try:
            shutil.rmtree(series, ignore_errors=True)  # of a gateway that died in between
            job = Job(path=str(folder / "file"), limits=self.limits)
            done = self._run(self._splitting(job, series, wish), folder)
            shutil.rmtree(folder / "series", ignore_errors=True)
            series.rename(folder / "series")
        except BaseException:
            shutil.rmtree(series, ignore_errors=True)
            raise
        loaded = msgspec.structs.replace(upload, load=_load_of(wish, done))
        _write(folder, loaded)
        (folder / "file").unlink(missing_ok=True)
        return loaded

    def _run(self, job: Job, folder: Path) -> Done:
        done = self._readers.run(job, folder)
        if done.lacks_room_for is not None:
            raise _full(f"{job.room} are left, and {done.lacks_room_for} more are needed")
        return done

    def _splitting(self, job: Job, directory: Path, wish: Wish) -> Job:
        """Return a job that splits its file too, with the room that is left now."""
        return msgspec.structs.replace(
            job,
            changes=wish.changes,
            directory=str(directory),
            room=self._room(self._root()),
            single_name=wish.name,
        )

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

    def _room(self, root: Path) -> int:
        """Return how many bytes uploads may still take on the disk.

        Raises:
            Problem: 507; none.
        """
        used = 0
        for entry in root.iterdir():
            with suppress(FileNotFoundError):  # removed meanwhile
                if entry.name.startswith(".") and entry.stat().st_mtime < time.time() - _DRAFT_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)
                    continue
                used += sum(found.stat().st_size for found in entry.rglob("*") if found.is_file())
        left = self._settings.max_uploads_bytes - used
        if left < 1:
            raise _full(f"{used} are taken")
        return left


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


def _load_of(wish: Wish | None, done: Done) -> Load | None:
    if wish is None:
        return None
    return Load(
        mapping=_given(done.inspection).mapping,
        project=wish.project,
        force=wish.force,
        series=done.series,
        asked=wish.encoded,
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
