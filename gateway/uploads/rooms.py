"""How many bytes uploads may still take on the disk: all together, and those of one organisation.

What lies on the disk is measured when an upload begins. While it is received, what others receive meanwhile counts too,
so that many at once do not take together what each was promised; only when that seems to be full is measured again.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.problems import Problem

#: A draft that nobody has finished in this time belongs to a gateway that is gone.
_DRAFT_SECONDS = 3600.0
#: Stands for everybody's uploads among organisations.
_ALL = None
_Bytes = dict[str | None, int]


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose an upload is; what came before there were accounts is nobody's, so operators' only."""

    organisation_id: str = ""
    #: Who may change the project may see the upload.
    project: str = ""


NOBODY = Owner()


class _Owned(msgspec.Struct, frozen=True):
    """The part of what is known of an upload that says whose it is."""

    owner: Owner = NOBODY


def draft_name(upload_id: str, owner: Owner) -> str:
    """Return the name of the directory of an upload that is not finished; it says whose it is."""
    return f".{owner.organisation_id}.{upload_id}"


class Rooms:
    """Says what is left; safe to call from several threads.

    Args:
        most_bytes: That all uploads may take.
        share_of: That those of an organisation may take which the caller makes; 0: no limit but that of all.
    """

    def __init__(self, most_bytes: int, share_of: Callable[[str], int]) -> None:
        self._most_bytes = most_bytes
        self._share_of = share_of
        self._lock = threading.Lock()
        #: Bytes that this gateway has received so far, of each organisation and of all.
        self._received: Counter[str | None] = Counter()

    def taken(self, root: Path) -> Counter[str | None]:
        """Return how many bytes the uploads of each organisation take on the disk, and under ``None`` those of all."""
        taken: Counter[str | None] = Counter()
        for entry in root.iterdir():
            with suppress(FileNotFoundError):  # removed meanwhile
                if entry.name.startswith(".") and entry.stat().st_mtime < time.time() - _DRAFT_SECONDS:
                    shutil.rmtree(entry, ignore_errors=True)
                    continue
                size = sum(found.stat().st_size for found in entry.rglob("*") if found.is_file())
                taken[_ALL] += size
                taken[_organisation_of(entry)] += size
        return taken

    def left(self, root: Path, organisation_id: str) -> int:
        """Return how many bytes an upload of an organisation may still take.

        Raises:
            Problem: 507; none.
        """
        return min(self._left(root, organisation_id, self._share_of(organisation_id)).values())

    def lacking(self, root: Path, organisation_id: str, needed: int) -> Problem:
        """Return the 507 for an upload that needs more bytes than `left` gave."""
        left = self._left(root, organisation_id, self._share_of(organisation_id))
        key = min(left, key=left.__getitem__)
        return _full(key, f"{left[key]} are left, and {needed} more are needed")

    def open(self, root: Path, organisation_id: str) -> Callable[[int], None]:
        """Return what is called with the number of bytes before they are written.

        Raises:
            Problem: 507; there is no room for any. So does what is returned.
        """
        share = self._share_of(organisation_id)
        received, left = self._received.copy(), self._left(root, organisation_id, share)

        def take(size: int) -> None:
            nonlocal received, left
            with self._lock:
                if any(self._received[key] + size - received[key] > bytes_left for key, bytes_left in left.items()):
                    # Others may have gone meanwhile.
                    received, left = self._received.copy(), self._left(root, organisation_id, share)
                    for key, bytes_left in left.items():
                        if size > bytes_left:
                            raise _full(key, f"a file of more than the {bytes_left} that are left came")
                self._received.update(dict.fromkeys(left, size))

        return take

    def _left(self, root: Path, organisation_id: str, share: int) -> _Bytes:
        taken = self.taken(root)
        limits: _Bytes = {_ALL: self._most_bytes}
        if share:
            limits[organisation_id] = share
        for key, limit in limits.items():
            if taken[key] >= limit:
                raise _full(key, f"{taken[key]} are taken")
        return {key: limit - taken[key] for key, limit in limits.items()}


def _organisation_of(entry: Path) -> str:
    if entry.name.startswith("."):
        return entry.name[1:].rpartition(".")[0]
    return msgspec.json.decode((entry / "upload.json").read_bytes(), type=_Owned).owner.organisation_id


def _full(organisation_id: str | None, why: str) -> Problem:
    """Return the answer for an upload that the share of an organisation, or what all may take, has no room for."""
    code, whose = (
        ("uploads-full", "all uploads may take FORETOPIC_GATEWAY_MAX_UPLOADS_BYTES together")
        if organisation_id is _ALL
        else ("upload-share-full", f"uploads of {organisation_id} may take its quota of upload_bytes together")
    )
    return Problem(
        507,
        code,
        f"{whose}; {why}; what is loaded goes once it is in the log, and DELETE /api/v1/uploads/{{upload_id}} removes "
        "an upload",
        headers={"Connection": "close"},  # the rest of a body is not read
    )
