"""A call whose first time is still being worked on is made again, with its key, as soon as the gateway says."""

from __future__ import annotations

from foretopic.client.session import Patience, Session, change
from foretopic.client.steps import Pause, Reply, Request

_IN_PROGRESS = b'{"type":"/problems/request-in-progress","title":"","status":409,"detail":"","errors":[]}'


def test_a_repeat_that_comes_too_early_comes_again() -> None:
    session = Session(api_key="", patience=Patience())
    flow = session.ask(change("POST", "/api/v1/projects", dict, {"name": "x"}))

    first = next(flow)
    pause = flow.send(Reply(409, {"Retry-After": "1"}, _IN_PROGRESS))
    again = next(flow)

    assert isinstance(pause, Pause)  # red without `_IN_PROGRESS` in `Session.mend`
    assert pause.seconds >= 1
    assert isinstance(first, Request)
    assert isinstance(again, Request)
    assert again.headers["Idempotency-Key"] == first.headers["Idempotency-Key"]
