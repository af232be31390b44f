"""What providers answered, kept as it came: for audit, and to ask "has it changed?" instead of for all of it again.

One gzip file a response, ``<directory>/<source>/<UTC time>-<digest of the address>-<random>.gz``: a first line of JSON
(address, status, headers, SHA-256 of the body), then the body. Files are complete or not there. What goes beyond the
limit of a source goes oldest first. HTTP caches (hishel, requests-cache) keep only the newest answer of an address.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ingestor.errors import SourceUnreachable

_SUFFIX = ".gz"
_KEPT_HEADERS = ("content-type", "etag", "last-modified", "date")


@dataclass(frozen=True, kw_only=True)
class RawResponse:
    """One kept answer.

    Attributes:
        url: Address with its query; keys travel in headers, which are not kept.
        headers: Lower-case names; only what kind of content it is and when it changed.
    """

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class RawResponses:
    """The kept answers of all sources.

    Several processes may write at once; a file that vanishes meanwhile counts as evicted.

    Attributes:
        directory: Where they lie.
        max_bytes: Of one source, on the disk; 0 keeps nothing.
    """

    directory: Path
    max_bytes: int

    def keep(self, source: str, response: RawResponse, received_at: datetime) -> None:
        """Keep an answer, and let go of the oldest ones beyond the limit.

        Raises:
            SourceUnreachable: The disk does not take it: what cannot be audited is not taken in.
        """
        head = {
            "url": response.url,
            "status": response.status,
            "received_at": received_at.isoformat(),
            "sha256": hashlib.sha256(response.body).hexdigest(),
            "headers": {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers},
        }
        packed = gzip.compress(json.dumps(head).encode() + b"\n" + response.body, compresslevel=1, mtime=0)
        if len(packed) > self.max_bytes:
            return
        folder = self.directory / source
        name = f"{received_at:%Y%m%dT%H%M%S%f}Z-{_digest(response.url)}-{secrets.token_hex(4)}{_SUFFIX}"
        partial = folder / f"{name}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(packed)
            partial.replace(folder / name)
            self._evict(folder)
        except OSError as error:
            raise SourceUnreachable(
                source,
                f"raw answers cannot be kept: {error.strerror or error}; make room, or set "
                "FORETOPIC_INGESTOR_RAW_MAX_BYTES to 0",
            ) from error

    def newest(self, source: str, url: str) -> RawResponse | None:
        """Return the newest whole answer of an address; ``None`` when there is none."""
        names = (self.directory / source).glob(f"*-{_digest(url)}-*{_SUFFIX}")
        for path in sorted(names, key=lambda path: path.name, reverse=True):
            try:
                head, _, body = gzip.decompress(path.read_bytes()).partition(b"\n")
                told = json.loads(head)
            except (OSError, EOFError, ValueError, zlib.error):
                continue
            if told["url"] == url and told["sha256"] == hashlib.sha256(body).hexdigest():
                return RawResponse(url=url, status=told["status"], headers=told["headers"], body=body)
        return None

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return of each source how many files and bytes are kept."""
        return {folder.name: _sum(_files(folder)) for folder in sorted(self.directory.glob("*")) if folder.is_dir()}

    def purge(self, source: str | None = None) -> tuple[int, int]:
        """Delete the answers of a source, or of all; return how many files and bytes that were."""
        names = self.sizes() if source is None else [source]
        paths = [path for name in names for path in _files(self.directory / name)]
        total = _sum(paths)
        for path in paths:
            path.unlink(missing_ok=True)
        return total

    def _evict(self, folder: Path) -> None:
        # Names begin with their time, so that their order is their age.
        paths = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: path.name)
        sizes = [_size(path) for path in paths]
        total = sum(sizes)
        for path, size in zip(paths, sizes, strict=True):
            if total <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def validators(kept: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that ask for an answer only if it differs from a kept one; none when it cannot be told."""
    asked = {"If-None-Match": kept.get("etag"), "If-Modified-Since": kept.get("last-modified")}
    return {name: value for name, value in asked.items() if value}


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _files(folder: Path) -> list[Path]:
    return [*folder.glob(f"*{_SUFFIX}"), *folder.glob(f"*{_SUFFIX}.part")]


def _sum(paths: Sequence[Path]) -> tuple[int, int]:
    return len(paths), sum(map(_size, paths))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
