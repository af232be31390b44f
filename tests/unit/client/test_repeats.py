"""What the clients do when something fails in passing, and when it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from foretopic.client import Problem, UnexpectedAnswer, Unreachable, WaitedTooLong
from foretopic.client.session import retry_after
from tests.unit.client.conftest import Slept

TRAINING = {"training_id": "t1", "state": "queued", "model": "shop/apples-1d"}
PROBLEM = {
    "type": "/problems/busy",
    "title": "Busy",
    "status": 503,
    "detail": "come again",
    "x_request_id": "a",
    "errors": [],
}

Answer = httpx.Response | Exception


class Scripted:
    """Gives one answer after the other."""

    def __init__(self, *answers: Answer | Callable[[httpx.Request], Answer]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0)
        found = answer(request) if callable(answer) else answer
        if isinstance(found, Exception):
            raise found
        return found


def problem(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={**PROBLEM, "status": status}, headers=headers)


def accepted() -> httpx.Response:
    return httpx.Response(202, json=TRAINING)


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("late"), 429, 502, 503, 504],
    ids=["connect", "timeout", "429", "502", "503", "504"],
)
def test_what_fails_in_passing_is_sent_again_under_the_same_key(
    new_client: Any, failure: Exception | int, slept: Slept
) -> None:
    """Red when `request` is made anew for each try in `Session.ask`."""
    failures = [problem(failure) if isinstance(failure, int) else failure for _ in range(2)]
    script = Scripted(*failures, accepted())
    job = new_client(answer=script).start_training("shop/apples@1d", algorithm="drift")

    assert job.answer.training_id == "t1"
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1
    assert len({request.content for request in script.requests}) == 1
    assert 0.125 <= slept.seconds[0] <= 0.25
    assert 0.25 <= slept.seconds[1] <= 0.5


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
def test_what_is_wrong_is_not_sent_again(new_client: Any, status: int) -> None:
    script = Scripted(problem(status))
    with pytest.raises(Problem) as caught:
        new_client(answer=script).list_series()
    assert (caught.value.status, caught.value.code, caught.value.request_id) == (status, "busy", "a")


def test_a_server_is_left_alone_as_long_as_it_says(new_client: Any, slept: Slept) -> None:
    script = Scripted(problem(429, **{"Retry-After": "7"}), httpx.Response(200, json={"series": []}))
    assert new_client(answer=script).list_series().series == ()
    assert slept.seconds == [7.0]


def test_a_server_that_wants_too_long_is_not_waited_for(new_client: Any, slept: Slept) -> None:
    with pytest.raises(Problem):
        new_client(answer=Scripted(problem(429, **{"Retry-After": "3600"}))).list_series()
    assert slept.seconds == []


def test_patience_ends(new_client: Any, slept: Slept) -> None:
    script = Scripted(*[httpx.ConnectError("refused")] * 5)
    with pytest.raises(Unreachable, match=r"GET /api/v1/series: no answer \(ConnectError: refused\)"):
        new_client(answer=script).list_series()
    assert len(slept.seconds) == 4


def test_no_retries_when_none_are_wanted(new_client: Any) -> None:
    script = Scripted(httpx.ConnectError("refused"))
    with pytest.raises(Unreachable):
        new_client(answer=script, retries=0).list_series()


def test_a_secret_whose_answer_was_lost_is_not_asked_for_again(new_client: Any) -> None:
    """Red without `is_once` in `Accounts.create_key`: the repeat would come without the key."""
    script = Scripted(httpx.ReadTimeout("late"))
    with pytest.raises(Unreachable):
        new_client(answer=script).create_key("nightly")


def test_a_refresh_token_is_sent_once(new_client: Any) -> None:
    """Red when `renew` goes through `ask`: a second time looks like theft."""
    tokens = {
        "access_token": "a",
        "token_type": "Bearer",
        "expires_in": 1,
        "refresh_token": "r",
        "must_change_password": False,
    }
    script = Scripted(httpx.Response(200, json=tokens), problem(401), httpx.ReadTimeout("late"))
    client = new_client(answer=script)
    client.log_in("ana@example.org", "four random words here")
    with pytest.raises(Unreachable):
        client.get_me()
    assert [request.url.path for request in script.requests] == [
        "/api/v1/auth/login",
        "/api/v1/me",
        "/api/v1/auth/refresh",
    ]


def test_a_key_that_is_no_good_is_not_refreshed(new_client: Any) -> None:
    with pytest.raises(Problem):
        new_client(answer=Scripted(problem(401)), api_key="ftp_old").get_me()


@pytest.mark.parametrize("content", [b"<html>a proxy</html>", b'{"series": 1}', b""])
def test_what_no_gateway_says_is_told(new_client: Any, content: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="GET /api/v1/series answered 200"):
        new_client(answer=Scripted(httpx.Response(200, content=content))).list_series()


def test_an_error_that_is_no_problem_document_is_shown(new_client: Any) -> None:
    with pytest.raises(Problem, match="Bad Gateway of nginx"):
        new_client(answer=Scripted(httpx.Response(502, text="Bad Gateway of nginx")), retries=0).list_series()


def test_a_forecast_that_is_pending_is_looked_up(new_client: Any, slept: Slept) -> None:
    pending = httpx.Response(202, json={"request_id": "r1", "state": "pending"})
    script = Scripted(pending, pending, pending)
    with pytest.raises(WaitedTooLong) as caught:
        new_client(answer=script).forecast("shop/apples@1d", horizon=1, wait_seconds=0)
    assert caught.value.newest.request_id == "r1"
    assert script.requests[0].headers["Prefer"] == "wait=0"
    assert json.loads(script.requests[0].content) == {"series_id": "shop/apples@1d", "horizon": 1}


def test_a_stream_that_breaks_goes_on_behind_the_last_event(new_client: Any, slept: Slept) -> None:
    """Red without `text.last_id` in `follow`, without `text.cut()`, or when
    the id of half an event counts: that event would never be told."""

    def broken() -> Any:
        yield b'retry: 50\n\nid: A\nevent: forecast.issued\ndata: {"n":\ndata: 1}\n\nid: B\nevent: forecast.refused\ndata: {'
        raise httpx.ReadError("cut")

    class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Any:
            return broken()

        async def __aiter__(self) -> Any:
            for piece in broken():
                yield piece

    whole = b": still here\n\nid: C\nevent: position\ndata: {}\n\n"
    script = Scripted(
        httpx.Response(200, stream=Stream()), problem(503), httpx.Response(200, content=whole), problem(404)
    )
    events = new_client(answer=script).events(project="shop", after="0")
    found = [next(events), next(events)]
    with pytest.raises(Problem):
        next(events)

    assert [(event.id, event.type, event.data) for event in found] == [
        ("A", "forecast.issued", {"n": 1}),
        ("C", "position", {}),
    ]
    assert [request.headers["Last-Event-ID"] for request in script.requests] == ["0", "A", "A", "C"]
    assert slept.seconds[-1] == 0.05


def test_a_stream_that_ends_before_its_first_event_goes_on_from_its_beginning(new_client: Any, slept: Slept) -> None:
    """Red where only what carries data moves `last_id`: what came while nobody listened would never be told."""
    begin = httpx.Response(200, content=b"id: A\nretry: 50\n\n")
    event = httpx.Response(200, content=b"id: B\nevent: position\ndata: {}\n\n")
    script = Scripted(begin, event)
    assert next(new_client(answer=script).events(project="shop")).id == "B"
    assert [request.headers.get("Last-Event-ID") for request in script.requests] == [None, "A"]


def test_a_file_that_breaks_off_leaves_nothing(new_client: Any, tmp_path: Path) -> None:
    class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self) -> Any:
            yield b"half"
            raise httpx.ReadError("cut")

        async def __aiter__(self) -> Any:
            yield b"half"
            raise httpx.ReadError("cut")

    script = Scripted(*[httpx.Response(200, stream=Stream()) for _ in range(2)])
    with pytest.raises(Unreachable):
        new_client(answer=script, retries=1).export("forecasts", tmp_path / "all.csv", file_format="csv")
    assert list(tmp_path.iterdir()) == []


def test_how_long_a_server_says() -> None:
    assert retry_after({"Retry-After": "3"}) == 3.0
    assert retry_after({"Retry-After": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"}) == 0.0
    began = datetime.now(UTC).replace(microsecond=0)  # as the header tells it
    left = retry_after({"Retry-After": format_datetime(began + timedelta(minutes=1))})
    assert 60 - (datetime.now(UTC) - began).total_seconds() <= left <= 60
    assert [retry_after({"Retry-After": text}) for text in ("", "soon", "-1")] == [0.0, 0.0, 0.0]
    assert retry_after({}) == 0.0


def test_the_package_is_light() -> None:
    code = "import sys, foretopic; assert 'httpx' not in sys.modules and 'foretopic.client' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys; from foretopic import Client; assert not {'flask', 'gateway', 'kafka', 'numpy', 'schemas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
