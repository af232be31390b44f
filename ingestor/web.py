"""Asking over HTTP: with a deadline, a size limit, tries that wait longer each time, and a memory of raw answers."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import requests
import stamina
import urllib3

from ingestor.errors import BadSourceData, SourceUnreachable
from ingestor.raw_responses import RawResponse, RawResponses, validators
from runtime.addresses import ForbiddenAddress
from runtime.clock import SystemClock
from runtime.retry_after import retry_after_seconds

MAX_REDIRECTS = 5
#: Tries of one request; the deadline holds for all of them together.
ATTEMPTS = 3
_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 5.0
_CHUNK = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_NO_ADDRESS = (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)
_RETRIED = (408, 429, 500, 502, 503, 504)
#: To `zlib`: deflate with or without its header, or gzip.
_GZIP, _ZLIB = 31, 15

Sessions = Callable[[], requests.Session]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server said; ``status`` is below 500 and not 429.

    Attributes:
        content_type: Media type in lower case, without parameters; empty when it is not said.
        url: Where it was found, after redirects.
    """

    status: int
    content_type: str
    body: bytes
    url: str


class _NoAnswer(Exception):
    """A try failed in a way that another one may mend."""

    def __init__(self, why: str, wait_seconds: float | None = None) -> None:
        super().__init__(why)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, kw_only=True)
class WebClient:
    """Asks one source's servers.

    Attributes:
        source: Name of the source, for errors and raw answers.
        timeout_seconds: For all that one `get` does: looking up, tries, waits, redirects, reading. A server that drips
            its headers byte by byte can only be stopped by the deadline of the child process.
        max_bytes: Largest body, as sent and unpacked.
        sessions: Makes the session of each `get`.
        raw: Where answers are kept, and from where an unchanged one comes; ``None``: nowhere.
        follows_redirects: Up to `MAX_REDIRECTS`, never from https to http.
    """

    source: str
    timeout_seconds: float
    max_bytes: int
    sessions: Sessions = requests.Session
    raw: RawResponses | None = None
    follows_redirects: bool = False

    def get(
        self, url: str, parameters: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the answer of a server; secrets belong in ``headers``, which are told and kept nowhere.

        Raises:
            SourceUnreachable: No whole answer in time, or the server cannot or will not give one now.
            BadSourceData: The answer is too large or leads somewhere forbidden.
        """
        deadline = time.monotonic() + self.timeout_seconds
        tries = stamina.retry_context(
            on=_backoff,
            attempts=ATTEMPTS,
            timeout=self.timeout_seconds,
            wait_initial=_WAIT_SECONDS,
            wait_max=_LONGEST_WAIT_SECONDS,
        )
        try:
            address = requests.Request("GET", url, params=dict(parameters or {})).prepare().url or url
            for attempt in tries:
                with attempt:
                    return self._follow(address, dict(headers or {}), deadline)
        except _NoAnswer as error:
            raise SourceUnreachable(self.source, str(error), error.wait_seconds) from error
        except ForbiddenAddress as error:
            raise BadSourceData(
                self.source,
                f"{error} lies at an address that is not public; an operator may allow it by "
                "FORETOPIC_INGESTOR_URL_ALLOWED_HOSTS",
            ) from error
        except (requests.RequestException, UnicodeError, ValueError) as error:
            raise BadSourceData(self.source, f"no address: {str(error)[:200]}") from error
        raise AssertionError("stamina gives at least one attempt")

    def _follow(self, url: str, headers: dict[str, str], deadline: float) -> Answer:
        with self.sessions() as session:
            for _ in range(MAX_REDIRECTS + 1):
                answer, target = self._once(session, url, headers, deadline)
                if answer is not None:
                    return answer
                before, url = url, urljoin(url, target)
                if urlsplit(url).scheme not in ("https", urlsplit(before).scheme):
                    raise BadSourceData(
                        self.source, f"a redirect must lead to https, or from http to http, led to {url[:200]}"
                    )
        raise BadSourceData(self.source, f"at most {MAX_REDIRECTS} redirects are followed, there were more")

    def _once(
        self, session: requests.Session, url: str, headers: dict[str, str], deadline: float
    ) -> tuple[Answer | None, str]:
        """Return the answer, or where it leads instead."""
        kept = None if self.raw is None else self.raw.newest(self.source, url)
        asked = {"Accept-Encoding": "gzip", **headers, **({} if kept is None else validators(kept.headers))}
        host = urlsplit(url).hostname
        try:
            with session.get(
                url, headers=asked, timeout=_left(deadline), stream=True, allow_redirects=False
            ) as response:
                status, told = response.status_code, response.headers
                if status == HTTPStatus.NOT_MODIFIED and kept is not None:
                    return _answer(kept), ""
                if status in _REDIRECTS and self.follows_redirects:
                    return None, told.get("Location", "")
                if status in _RETRIED:
                    raise _NoAnswer(
                        f"{host} answered with HTTP status {status}", retry_after_seconds(told.get("Retry-After") or "")
                    )
                body = b"".join(self._read(response, deadline))
        except _NO_ADDRESS:
            raise
        except (urllib3.exceptions.HTTPError, OSError) as error:  # those of requests are OSErrors too
            raise _NoAnswer(f"{host} gave no whole answer within {self.timeout_seconds:g} s: {_why(error)}") from error
        found = RawResponse(
            url=url, status=status, headers={name.lower(): value for name, value in told.items()}, body=body
        )
        if self.raw is not None:
            self.raw.keep(self.source, found, SystemClock().now())
        return _answer(found), ""

    def _read(self, response: requests.Response, deadline: float) -> Iterator[bytes]:
        """Yield the body, unpacked; nothing beyond the limit is held."""
        encoding = response.headers.get("Content-Encoding", "").lower().strip()
        if encoding not in ("", "identity", "gzip", "deflate"):
            raise BadSourceData(self.source, f"Content-Encoding must be gzip or none, was {encoding[:40]!r}")
        unpacker = (
            zlib.decompressobj(_GZIP if encoding == "gzip" else _ZLIB) if encoding in ("gzip", "deflate") else None
        )
        packed = size = 0
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            _left(deadline)
            packed += len(chunk)
            try:
                part = chunk if unpacker is None else unpacker.decompress(chunk, self.max_bytes - size + 1)
            except zlib.error as error:
                raise BadSourceData(self.source, f"the answer is no {encoding}: {error}") from error
            size += len(part)
            if max(size, packed) > self.max_bytes:
                raise BadSourceData(self.source, f"an answer may have at most {self.max_bytes} bytes, this has more")
            yield part
        if unpacker is not None and not unpacker.eof:
            raise OSError("the answer ended in the middle")


def _answer(response: RawResponse) -> Answer:
    content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Answer(status=response.status, content_type=content_type, body=response.body, url=response.url)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left


def _backoff(error: Exception) -> bool | float:
    """Tell stamina whether to try again, and when the server said after how long."""
    if not isinstance(error, _NoAnswer):
        return False
    if error.wait_seconds is None:
        return True
    return error.wait_seconds if error.wait_seconds <= _LONGEST_WAIT_SECONDS else False


def _why(error: BaseException) -> str:
    """Return the innermost reason: what libraries wrap around it names objects, not reasons."""
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return str(getattr(error, "strerror", None) or error)[:200] or type(error).__name__
