"""Uploads on the disk that gateway and ingestor share, and the child processes that read them.

A directory an upload, named by us: `file` as it came until it is loaded, `upload.json` with what is known of it, and
`series/NNNNN.npy`. It is made under a name that begins with a dot and renamed once it was read, so what is broken or
left by a crash is never seen as an upload.
"""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar
from weakref import WeakValueDictionary

import msgspec

from gateway.problems import Problem, not_found, unavailable
from gateway.settings import GatewaySettings
from gateway.uploads.child_processes import Readers
from gateway.uploads.jobs import Changes, ColumnMapping, Done, Inspection, Job, Limits, SplitSeries, column_name
from gateway.uploads.rooms import NOBODY, Owner, Rooms, draft_name

FOLDER = "uploads"
_ID = re.compile(r"[0-9a-f]{32}")
_WAIT_SECONDS = 10.0
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
    """The uploads of one gateway; safe to call from several threads.

    Args:
        settings: Of the gateway.
        share_of: Gives the bytes that the uploads of an organisation may take; 0: as many as all together.
    """

    def __init__(self, settings: GatewaySettings, share_of: Callable[[str], int] = lambda _: 0) -> None:
        self._settings = settings
        self._readers = Readers(settings.upload_timeout_seconds)
        self._rooms = Rooms(settings.max_uploads_bytes, share_of)
        #: Of each upload that is being split: two requests for the same one must not write over each other.
        self._loading: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
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
        wish_for: Callable[[str], tuple[Wish, Owner]] | None = None,
    ) -> Upload:
        """Take a file of ``owner`` in, and load it too where it is known how.

        Args:
            upload_id: Its name on the shelf.
            receive: Writes the file and returns the client's name of it.
            owner: Whose it is.
            wish_for: Tells by the label of the file how it is loaded, and whose it is; without, it is inspected.

        Raises:
            Problem: 409 uploads are off; 422 the file cannot be used; 507 no room. Nothing of it is left then.
        """
        root = self._root()
        take = self._rooms.open(root, owner.organisation_id)
        draft = root / draft_name(upload_id, owner)
        draft.mkdir()
        try:
            with (draft / "file").open("wb") as raw:
                filename = label(receive(Limited(raw, self._settings.max_upload_bytes, take)))
            wish = None
            if wish_for is not None:
                wish, owner = wish_for(filename)
                draft = draft.rename(root / draft_name(upload_id, owner))
            size = (draft / "file").stat().st_size
            done = self._read(draft, draft / "series", owner, wish)
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

    def load(self, upload_id: str, wish: Wish) -> Upload:
        """Split an upload into its series; the same again changes nothing.

        Raises:
            Problem: 404; 409 it was loaded otherwise; 422 the mapping does not fit the file; 503 it is being split,
                or too many others are; 507 no room.
        """
        loading = self._loading.setdefault(upload_id, threading.Lock())
        if not loading.acquire(timeout=_WAIT_SECONDS):
            raise unavailable("busy", "the upload is being loaded; come again")
        try:
            return self._load(self.get(upload_id), wish)
        finally:
            loading.release()

    def _load(self, upload: Upload, wish: Wish) -> Upload:
        folder = self._root() / upload.upload_id
        if upload.load is not None:
            if upload.load.asked != wish.encoded:
                raise Problem(409, "upload-loaded", "it was loaded with another mapping before; upload the file again")
            return upload
        series = folder / ".series"
        try:
            shutil.rmtree(series, ignore_errors=True)  # of a gateway that died in between
            done = self._read(folder, series, upload.owner, wish)
            shutil.rmtree(folder / "series", ignore_errors=True)
            series.rename(folder / "series")
        except BaseException:
            shutil.rmtree(series, ignore_errors=True)
            raise
        loaded = msgspec.structs.replace(upload, load=_load_of(wish, done))
        _write(folder, loaded)
        (folder / "file").unlink(missing_ok=True)
        return loaded

    def _read(self, folder: Path, series: Path, owner: Owner, wish: Wish | None) -> Done:
        """Let a child inspect the file in ``folder``, and with a wish split it into ``series``."""
        job = Job(path=str(folder / "file"), limits=self.limits)
        if wish is not None:
            job = msgspec.structs.replace(
                job,
                changes=wish.changes,
                directory=str(series),
                room=self._rooms.left(self._root(), owner.organisation_id),
                single_name=wish.name,
            )
        done = self._readers.run(job, folder, owner.organisation_id)
        if done.lacks_room_for is not None:
            raise self._rooms.lacking(self._root(), owner.organisation_id, done.lacks_room_for)
        return done

    def taken(self, organisation_id: str) -> int:
        """Return how many bytes the uploads of an organisation take on the disk."""
        return 0 if self._settings.files_directory is None else self._rooms.taken(self._root())[organisation_id]

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


class Limited:
    """A file that takes so many bytes and no more, and no more than there is room for."""

    def __init__(self, raw: IO[bytes], max_bytes: int, take: Callable[[int], None]) -> None:
        self._raw = raw
        self._written = 0
        self._take = take
        self.max_bytes = max_bytes

    def write(self, data: bytes) -> int:
        """Write ``data``.

        Raises:
            Problem: 413 it is too large for any upload; 507 for what is left of the disk.
        """
        self._written += len(data)
        if self._written > self.max_bytes:
            raise Problem(
                413,
                "body-too-large",
                f"a file of at most {self.max_bytes} bytes was expected, found a larger one",
                headers={"Connection": "close"},  # the rest of the body is not read
            )
        self._take(len(data))
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
