"""Source `url`: a CSV or Parquet file by its address.

``http`` and ``https`` go through our own client, since fsspec's can neither keep to an address that was judged nor ask
whether a file has changed; ``s3`` goes through fsspec; ``file`` is the source `file`, below its directory.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from forecasting.calendars import season_length
from forecasting.errors import CalendarError
from ingestor.addresses import PublicSession
from ingestor.errors import BadSourceData, SourceFault, SourceUnreachable, UnknownSymbol
from ingestor.files import FileSource, read_table
from ingestor.raw_responses import RawResponse, RawResponses
from ingestor.sources import SourceFrame, Wanted, within_days
from ingestor.web import WebClient
from runtime.clock import SystemClock

NAME = "url"
_MAX_CHARACTERS = 2000
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
#: Beginnings of files -> what the end of their name would be.
_KINDS = {b"PAR1": ".parquet", b"\x1f\x8b": ".csv.gz"}


@dataclass(frozen=True, kw_only=True)
class S3:
    """Where objects are, and which may be read.

    Attributes:
        buckets: Those that a request may name: our own rights must not be lent to whoever asks.
        endpoint: Address of an S3-compatible service; empty: AWS.
        key: Access key; empty: none, objects must be public.
        secret: Its secret.
        region: Of AWS, where it matters.
    """

    buckets: Collection[str] = ()
    endpoint: str = ""
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    region: str = "us-east-1"


@dataclass(frozen=True, kw_only=True)
class UrlSource:
    """Files by URL.

    Attributes:
        directory: For ``file:`` addresses; ``None``: none are read.
        max_bytes: Largest file, as sent and unpacked.
        timeout_seconds: For looking up, tries, redirects and reading together.
        allowed_hosts: Hosts that may lie at an address that is not public.
        s3: For ``s3:`` addresses.
        raw: Where answers and objects are kept.
    """

    name = NAME
    directory: Path | None = None
    max_bytes: int
    timeout_seconds: float = 30.0
    allowed_hosts: Collection[str] = ()
    s3: S3 = field(default_factory=S3)
    raw: RawResponses | None = None

    def fetch(self, wanted: Wanted) -> SourceFrame:
        try:
            return self._fetch(wanted)
        except SourceFault as fault:
            if fault.source == NAME:
                raise
            raise type(fault)(NAME, fault.reason) from fault

    def _fetch(self, wanted: Wanted) -> SourceFrame:
        scheme, rest = _parts(wanted.symbol)
        if scheme == "file":
            found = FileSource(self.directory, self.max_bytes).fetch(replace(wanted, symbol=rest))
            return replace(found, source=NAME)
        try:
            season_length(wanted.freq, wanted.calendar)
        except CalendarError as error:
            raise BadSourceData(NAME, str(error)) from error
        body = self._object(wanted.symbol) if scheme == "s3" else self._page(wanted.symbol)
        kind = next((kind for start, kind in _KINDS.items() if body.startswith(start)), ".csv")
        frame = read_table(io.BytesIO(body), f"the file{kind}", wanted.freq, self.max_bytes)
        return within_days(replace(frame, source=NAME), wanted)

    def _page(self, url: str) -> bytes:
        client = WebClient(
            source=NAME,
            timeout_seconds=self.timeout_seconds,
            max_bytes=self.max_bytes,
            sessions=PublicSession(self.allowed_hosts),
            raw=self.raw,
            follows_redirects=True,
        )
        answer = client.get(url)
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise UnknownSymbol(NAME, f"there is no such file (HTTP status {answer.status})")
        if answer.status != HTTPStatus.OK:
            raise SourceUnreachable(NAME, f"answered with HTTP status {answer.status}")
        if not answer.body.strip():
            raise BadSourceData(NAME, "the file is empty")
        if "html" in answer.content_type or answer.body.lstrip()[:1] == b"<":
            raise BadSourceData(NAME, "a CSV or Parquet file was expected, the answer is an HTML page")
        return answer.body

    def _object(self, url: str) -> bytes:
        """Return an object of S3.

        It may be as large as the limit, whatever its head says; what is too slow ends with the child process.
        """
        import fsspec  # type: ignore[import-untyped]  # noqa: PLC0415  # half a second
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415

        parts = urlsplit(url)
        bucket, key = parts.netloc, unquote(parts.path).lstrip("/")
        if _BUCKET.fullmatch(bucket) is None or not key:
            raise UnknownSymbol(NAME, f"an address such as s3://bucket/file.csv is expected, was {url[:200]!r}")
        if bucket not in self.s3.buckets:
            raise BadSourceData(
                NAME, f"bucket {bucket} may not be read; an operator may allow it by FORETOPIC_INGESTOR_S3_BUCKETS"
            )
        try:
            with fsspec.filesystem("s3", **self._s3_options()).open(f"{bucket}/{key}", "rb") as stream:
                tag = str(stream.details.get("ETag") or "")
                kept = None if self.raw is None else self.raw.newest(NAME, url)
                is_same = kept is not None and tag and kept.headers.get("etag") == tag
                body: bytes = kept.body if kept is not None and is_same else stream.read(self.max_bytes + 1)
        except FileNotFoundError as error:
            raise UnknownSymbol(NAME, f"there is no object {key[:200]!r} in bucket {bucket}") from error
        except (OSError, BotoCoreError, ClientError) as error:
            raise SourceUnreachable(NAME, f"bucket {bucket} cannot be read: {str(error)[:200]}") from error
        if len(body) > self.max_bytes:
            raise BadSourceData(NAME, f"the file may have at most {self.max_bytes} bytes, this has more")
        if self.raw is not None and not is_same:
            found = RawResponse(url=url, status=HTTPStatus.OK, headers={"etag": tag}, body=body)
            self.raw.keep(NAME, found, SystemClock().now())
        if not body.strip():
            raise BadSourceData(NAME, "the file is empty")
        return body

    def _s3_options(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.s3.endpoint or None,
            "key": self.s3.key or None,
            "secret": self.s3.secret or None,
            "anon": not self.s3.key,
            "client_kwargs": {"region_name": self.s3.region},
            "config_kwargs": {
                "connect_timeout": self.timeout_seconds,
                "read_timeout": self.timeout_seconds,
                "retries": {"max_attempts": 2},
            },
            "skip_instance_cache": True,
        }


def _parts(url: str) -> tuple[str, str]:
    """Return the scheme of an address that may be asked for, and the path of a ``file:`` one."""
    if len(url) > _MAX_CHARACTERS:
        raise UnknownSymbol(NAME, f"an address may have at most {_MAX_CHARACTERS} characters, has {len(url)}")
    try:
        parts = urlsplit(url)
        has_password = parts.username is not None or parts.password is not None
    except ValueError as error:
        raise UnknownSymbol(NAME, f"no address: {error}") from error
    if parts.scheme == "file":
        if parts.netloc:
            raise UnknownSymbol(NAME, f"an address such as file:sales.csv is expected, was {url[:200]!r}")
        return "file", unquote(parts.path).lstrip("/")
    if parts.scheme not in ("http", "https", "s3") or not parts.netloc:
        raise UnknownSymbol(NAME, f"an address with http, https, s3 or file is expected, was {url[:200]!r}")
    if has_password:
        raise UnknownSymbol(NAME, "an address must not have a user or password in it: requests are kept and shown")
    return parts.scheme, ""
