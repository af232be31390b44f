"""What a client knows between its calls, and how a call is made: credentials, repeats, decoding. No I/O."""

from __future__ import annotations

import dataclasses
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from foretopic.client.documents.accounts import Tokens
from foretopic.client.errors import Problem, UnexpectedAnswer, Unreachable
from foretopic.client.steps import Call, Flow, Pause, Renew, Reply, Request

T = TypeVar("T")
#: Statuses that go away by themselves: nothing was done.
_UNTOUCHED = frozenset({429, 503})
#: Those of a proxy that did not hear from the gateway behind it: something may have been done.
_UNCERTAIN = frozenset({502, 504})
#: An earlier time of this very call, whose answer was lost, is still being worked on.
_IN_PROGRESS = "request-in-progress"
_UNAUTHENTICATED = 401
_FIRST_ERROR = 400
#: Waits are doubled from here, and lie anywhere between a half and the whole.
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 8.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a call is sent again, and how long is waited for that."""

    #: After the first time; 0: never.
    retries: int = 4
    #: A server that wants to be left alone for longer is: the problem is raised.
    longest_seconds: float = 60.0


class Session:
    """Credentials and manners of one client; threads may share it.

    Args:
        api_key: Sent with each call; empty: none, or tokens after `sign_in`.
        patience: How calls are repeated.
        chance: Makes the waits uneven, so that clients that failed together do not come again together.
    """

    def __init__(self, *, api_key: str, patience: Patience, chance: random.Random | None = None) -> None:
        self._api_key = api_key
        self._patience = patience
        self._chance = chance or random.Random()  # noqa: S311  # no secret
        self._tokens: Tokens | None = None

    @property
    def tokens(self) -> Tokens | None:
        """Return what was signed in with; ``None``: an API key, or nothing."""
        return self._tokens

    @tokens.setter
    def tokens(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    def flow(self, call: Call[T]) -> Flow[T]:
        """Make a call: its answer, decoded, and what follows from it."""
        reply = yield from self.ask(call)
        answer = decoded(call, reply)
        if call.then is None:
            return answer  # type: ignore[no-any-return]  # as `answers` says
        result = yield from call.then(self, answer)
        return result

    def ask(self, call: Call[Any]) -> Flow[Reply]:
        """Make a call, and again where that is safe and may help.

        Raises:
            Problem: The answer is an error, also after repeats.
            Unreachable: There was no answer, also after repeats.
        """
        request, tries = self.request(call), 0
        while True:
            try:
                reply: Reply = yield request
                require_good(reply)
            except (Problem, Unreachable) as error:
                yield from self.mend(call, request, error, tries)
                request, tries = self._signed_anew(request), tries + 1
            else:
                return reply

    def mend(self, call: Call[Any], request: Request, error: Problem | Unreachable, tries: int) -> Flow[None]:
        """Do what may help before a call is made again.

        Raises:
            Problem, Unreachable: ``error``; nothing helps, or it is not known what another time would do.
        """
        pause = None
        if isinstance(error, Unreachable):
            pause = None if call.is_once else self._pause(tries, {})
        elif error.status == _UNAUTHENTICATED:
            if call.is_signed and self._tokens is not None and tries == 0:
                yield Renew(request.headers["Authorization"].removeprefix("Bearer "))
                return
        elif (
            error.status in _UNTOUCHED
            or error.code == _IN_PROGRESS
            or (error.status in _UNCERTAIN and not call.is_once)
        ):
            pause = self._pause(tries, error.headers)
        if pause is None:
            raise error
        yield Pause(pause)

    def renew(self) -> Flow[None]:
        """Exchange the refresh token. It is sent once: a second time would look like theft, and end the sign-in."""
        if self._tokens is None:
            return
        body = {"refresh_token": self._tokens.refresh_token}
        call: Call[Tokens] = Call(
            method="POST",
            path="/api/v1/auth/refresh",
            answers={200: Tokens},
            body=body,
            is_once=True,
            is_signed=False,
        )
        reply: Reply = yield self.request(call)
        require_good(reply)
        self._tokens = decoded(call, reply)

    def request(self, call: Call[Any]) -> Request:
        """Return what is sent for a call; repeats of it have the same Idempotency-Key."""
        headers = {"Accept": "application/json", **call.headers}
        content = None
        if call.body is not None:
            content = msgspec.json.encode(_given(call.body, call.sends_none))
            headers["Content-Type"] = "application/json"
        elif call.file is not None:
            headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(call.file.stat().st_size)}
        if call.method != "GET" and not call.is_once:
            headers.setdefault("Idempotency-Key", str(uuid.uuid4()))
        if call.is_signed:
            headers |= self._credentials()
        target = call.path + _query(call.query)
        return Request(call.method, target, headers, content, call.file, call.into, call.timeout_seconds)

    def _credentials(self) -> dict[str, str]:
        token = self._tokens.access_token if self._tokens is not None else self._api_key
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _signed_anew(self, request: Request) -> Request:
        if "Authorization" not in request.headers:
            return request
        return dataclasses.replace(request, headers={**request.headers, **self._credentials()})

    def _pause(self, tries: int, headers: Mapping[str, str]) -> float | None:
        """Return how long to wait before the next time; ``None``: there is none."""
        if tries >= self._patience.retries:
            return None
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0**tries)
        pause = max(longest * self._chance.uniform(0.5, 1.0), retry_after(headers))
        return pause if pause <= self._patience.longest_seconds else None


def require_good(reply: Reply) -> None:
    """Let an answer through that is no error.

    Raises:
        Problem: It is one.
    """
    if reply.status >= _FIRST_ERROR:
        raise Problem(reply.status, reply.content, reply.headers)


def retry_after(headers: Mapping[str, str]) -> float:
    """Return for how many seconds a server wants to be left alone (RFC 9110); 0: it did not say."""
    text = headers.get("Retry-After", headers.get("retry-after", "")).strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def decoded(call: Call[Any], reply: Reply) -> Any:
    """Return an answer as the type that the call says.

    Raises:
        UnexpectedAnswer: It is none of it.
    """
    if not call.answers:
        return None
    kind = call.answers.get(reply.status, next(iter(call.answers.values())))
    try:
        return msgspec.json.decode(reply.content, type=kind)
    except msgspec.MsgspecError as error:
        raise UnexpectedAnswer(
            f"{call.method} {call.path} answered {reply.status} with something else than expected ({error})"
        ) from error


def path(template: str, **ids: str) -> str:
    """Return a path with ids in it; the slash of a series or model stands as it is."""
    return template.format(**{name: quote(value, safe="/@~.-_:") for name, value in ids.items()})


def _given(body: Mapping[str, object], sends_none: bool) -> dict[str, object]:
    return {name: value for name, value in body.items() if sends_none or value is not None}


def _query(asked: Mapping[str, object]) -> str:
    given = {name: _text(value) for name, value in asked.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return str(msgspec.to_builtins(value))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(str, value))
    return str(value)


def read(target: str, kind: type[T], **query: object) -> Call[T]:
    """Return a call that looks something up."""
    return Call(method="GET", path=target, answers={200: kind}, query=query)


def change(
    method: str, target: str, kind: type[T], body: Mapping[str, object] | None = None, *, key: str | None = None
) -> Call[T]:
    """Return a call that changes something, and is answered with it."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return Call(method=method, path=target, answers={200: kind}, body=body, headers=headers)


def done(method: str, target: str, body: Mapping[str, object] | None = None) -> Call[None]:
    """Return a call that changes something, and is answered with nothing."""
    return Call(method=method, path=target, body=body)
