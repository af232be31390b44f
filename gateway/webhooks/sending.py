"""One attempt to deliver: signed, to an address that was judged, within a time, no redirect followed."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import httpcore
from standardwebhooks import Webhook

from gateway.webhooks.targets import BadTarget, Rules, Target
from runtime.addresses import ForbiddenAddress, look_up
from runtime.retry_after import retry_after_seconds
from runtime.version import CODE_VERSION


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt.

    Attributes:
        status: HTTP status; ``None``: there was no answer.
        error: Why it was not delivered; empty where it was. Nothing of what the receiver said.
        retry_after_seconds: For how long the receiver wants to be left alone.
    """

    status: int | None
    error: str
    retry_after_seconds: float | None = None

    @property
    def is_delivered(self) -> bool:
        """Return whether the receiver has taken it."""
        return not self.error

    @property
    def is_gone(self) -> bool:
        """Return whether the receiver wants nothing any more."""
        return self.status == HTTPStatus.GONE


def signed(secrets: Sequence[str], delivery_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Return the headers of Standard Webhooks; each secret signs, so that one can follow another."""
    signatures = [Webhook(secret).sign(delivery_id, now, body.decode()) for secret in secrets]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Sender:
    """Makes attempts; may be used by several threads at once.

    Args:
        rules: Which addresses are let through.
        timeout_seconds: For everything that one attempt does, but the look-up of a name.
        tls: How certificates are verified.
    """

    def __init__(self, rules: Rules, timeout_seconds: float, tls: ssl.SSLContext | None = None) -> None:
        self._rules = rules
        self._timeout_seconds = timeout_seconds
        self._tls = tls or ssl.create_default_context()

    def post(self, url: str, headers: dict[str, str], body: bytes) -> Outcome:
        """Send ``body`` to ``url``."""
        try:
            return self._post(self._rules.parsed(url), headers, body)
        except (BadTarget, ForbiddenAddress):
            return Outcome(None, "the host does not lie at an address that webhooks may be sent to")
        except (httpcore.TimeoutException, TimeoutError):
            return Outcome(None, f"no answer within {self._timeout_seconds:g} s")
        except ssl.SSLError:
            return Outcome(None, "the certificate could not be verified")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, UnicodeError) as error:
            reason = "the certificate could not be verified" if "CERTIFICATE" in str(error) else "no connection"
            return Outcome(None, reason)

    def _post(self, target: Target, headers: dict[str, str], body: bytes) -> Outcome:
        backend = _JudgedBackend(self._rules, target, time.monotonic() + self._timeout_seconds)
        sent = {
            "Host": target.host_header,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": f"foretopic/{CODE_VERSION}",
            **headers,
        }
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), self._timeout_seconds)
        # A pool of its own: no connection that was judged for one target is used for another.
        with httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend, max_connections=1) as pool:
            where = httpcore.URL(
                scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
            )
            with pool.stream(
                "POST", where, headers=list(sent.items()), content=body, extensions={"timeout": timeouts}
            ) as response:
                # The body is not read: nothing in it matters, and it may have no end.
                told = {name.lower(): value for name, value in response.headers}
                return _outcome(response.status, told.get(b"retry-after", b""))


def _outcome(status: int, retry_after: bytes) -> Outcome:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome(status, "")
    reason = f"the receiver answered with HTTP status {status}"
    return Outcome(status, reason, retry_after_seconds(retry_after.decode("latin-1")))


class _JudgedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that were judged: the name is not looked up again, and no time is lost on the way."""

    def __init__(self, rules: Rules, target: Target, deadline: float) -> None:
        self._rules = rules
        self._target = target
        self._deadline = deadline
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  # the deadline holds for all together
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        found = look_up(host, port, lambda address: self._rules.allows(self._target.scheme, address))
        failure: Exception = OSError("no address")
        for *_, place in found:
            try:
                stream = self._plain.connect_tcp(
                    str(place[0]), port, _left(self._deadline), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """Ends with the deadline, also of a server that drips its answer byte by byte."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        secure = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _TimedStream(secure, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time is up")
    return left
