"""The gateway's HTTP API as the command line uses it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

from foretopic.client import Client, Problem, UnexpectedAnswer, Unreachable
from foretopic.client.steps import Call
from foretopic.errors import GatewayError

_PIECE_BYTES = 256 * 1024
_ANSWER_SECONDS = 90.0
_SIGN_IN = "; set FORETOPIC_API_KEY to an API key, which `foretopic admin create-key` makes beside the gateway"

Document = dict[str, Any]


class GatewayClient:
    """Calls one gateway. Every method raises ``GatewayError`` for an error status and for no answer at all.

    Args:
        url: Base URL, e.g. ``http://127.0.0.1:5000``.
        api_key: Sent with every request; empty: none.
    """

    def __init__(self, url: str, *, api_key: str = "") -> None:
        self._url = url
        # Somebody who waits at a terminal is told at once, and decides about another time.
        self._client = Client(url, api_key=api_key, timeout_seconds=_ANSWER_SECONDS, retries=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def is_ready(self) -> bool:
        """Tell whether a champion can answer."""
        try:
            self._call("GET", "/ready")
        except GatewayError:
            return False
        return True

    def is_caught_up(self) -> bool:
        """Tell whether the gateway has read the whole log; before that its lists are not whole."""
        services = self._call("GET", "/status")["services"]
        return any(service["name"] == "gateway" and service["state"] == "up" for service in services)

    def series(self) -> list[Document]:
        """Return every known series."""
        return list(self._call("GET", "/api/v1/series")["series"])

    def observations(self, series_id: str, asked: Mapping[str, object]) -> Document:
        """Return a page of observations; ``asked`` are query parameters, without those that are ``None``."""
        return self._call("GET", f"/api/v1/series/{quote(series_id)}/observations{_query(asked)}")

    def restatements(self, series_id: str, asked: Mapping[str, object]) -> Document:
        """Return a page of restatements; ``asked`` likewise."""
        return self._call("GET", f"/api/v1/series/{quote(series_id)}/restatements{_query(asked)}")

    def models(self) -> list[Document]:
        """Return every model with its versions, newest first."""
        return list(self._call("GET", "/api/v1/models")["models"])

    def ask_ingest(self, body: Mapping[str, object], *, key: str | None = None) -> Document:
        """Ask for data; return ``ingest_id`` and state."""
        return self._call("POST", "/api/v1/ingests", body=body, key=key)

    def ingest(self, ingest_id: str) -> Document:
        """Return how an ingest goes; ``queued`` where the gateway has not read of it yet."""
        return self._progress(f"/api/v1/ingests/{quote(ingest_id)}")

    def ask_training(self, body: Mapping[str, object], *, key: str | None = None) -> Document:
        """Ask for a training; return ``training_id``, state and model."""
        return self._call("POST", "/api/v1/trainings", body=body, key=key)

    def training(self, training_id: str) -> Document:
        """Return how a training goes; ``queued`` where the gateway has not read of it yet."""
        return self._progress(f"/api/v1/trainings/{quote(training_id)}")

    def quarantine(self, *, series_id: str | None = None, state: str = "held", limit: int = 50) -> list[Document]:
        """Return held rows, the newest first."""
        asked = {"series_id": series_id, "state": state, "limit": str(limit)}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return list(self._call("GET", f"/api/v1/quarantine?{query}")["quarantine"])

    def quarantined(self, quarantine_id: str) -> Document:
        """Return held rows with the rules that they break."""
        return self._call("GET", f"/api/v1/quarantine/{quote(quarantine_id)}")

    def decide(self, quarantine_id: str, decision: str, body: Mapping[str, object]) -> Document:
        """``release`` or ``reject`` held rows."""
        return self._call("POST", f"/api/v1/quarantine/{quote(quarantine_id)}/{decision}", body=body)

    def sources(self) -> list[Document]:
        """Return every series that has a schedule, by name."""
        return list(self._call("GET", "/api/v1/sources")["sources"])

    def set_source(self, series_id: str, body: Mapping[str, object]) -> Document:
        """Schedule a series; return it with its state."""
        return self._call("PUT", f"/api/v1/sources/{quote(series_id)}", body=body)

    def change_source(self, series_id: str, verb: str) -> Document:
        """``pause``, ``resume`` or ``run`` a scheduled series."""
        return self._call("POST", f"/api/v1/sources/{quote(series_id)}/{verb}")

    def upload(self, path: Path) -> Document:
        """Send a file; return what it seems to hold."""
        return self._call("POST", f"/api/v1/uploads?{urlencode({'filename': path.name})}", file=path)

    def load_upload(self, upload_id: str, body: Mapping[str, object]) -> Document:
        """Load an upload; return it with the ingest of each series."""
        return self._call("POST", f"/api/v1/uploads/{quote(upload_id)}/load", body=body)

    def upload_state(self, upload_id: str) -> Document:
        """Return an upload with the state of each series."""
        return self._call("GET", f"/api/v1/uploads/{quote(upload_id)}")

    def quotas(self, kind: str, owner_id: str) -> Document:
        """Return the quotas of one of the ``projects`` or ``organisations``, and what it uses."""
        return self._call("GET", f"/api/v1/{kind}/{quote(owner_id)}/quotas")

    def forecast(self, body: Mapping[str, object], *, wait_seconds: float = 60.0, key: str | None = None) -> Document:
        """Return a forecast, waiting for it as long as the gateway may; one that takes longer is asked for again."""
        answer = self._call("POST", "/api/v1/forecasts", body=body, key=key, prefer=f"wait={wait_seconds:g}")
        if "steps" not in answer:
            raise GatewayError(
                f"no forecast within {wait_seconds:g} s; the request stands: GET {self._url}/api/v1/forecasts/"
                f"{answer.get('request_id', '')} answers once the predictor has",
                status=202,
            )
        return answer

    def history(self, kind: str, asked: Mapping[str, object]) -> list[Document]:
        """Return lines of ``forecasts``, ``trainings`` or ``ingests``, the newest first; at most ``limit`` of them."""
        page = self._call("GET", f"/api/v1/{kind}{_query(asked)}")
        lines = list(page[kind])
        limit = int(str(asked["limit"]))
        # A page may end early: the gateway looks at so many rows and no more.
        while len(lines) < limit and page["next"] is not None:
            page = self._call("GET", page["next"])
            lines += page[kind]
        return lines[:limit]

    def save_history(self, kind: str, asked: Mapping[str, object], path: Path) -> int:
        """Write all lines to a file as the gateway sends them; return its bytes. A broken stream leaves no file."""
        self._call("GET", f"/api/v1/{kind}{_query(asked)}", into=path)
        return path.stat().st_size

    def deploy(self, model: str, body: Mapping[str, object], *, key: str | None = None) -> Document:
        """Give a version a role."""
        return self._call("POST", f"/api/v1/models/{quote(model)}/deploy", body=body, key=key)

    def _progress(self, path: str) -> Document:
        try:
            return self._call("GET", path)
        except GatewayError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                # The gateway acknowledged the request before its reader came by it.
                return {"state": "queued"}
            raise

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        key: str | None = None,
        prefer: str | None = None,
        file: Path | None = None,
        into: Path | None = None,
    ) -> Document:
        headers = {"Idempotency-Key": key, "Prefer": prefer}
        call: Call[Document] = Call(
            method=method,
            path=path,
            answers={} if into is not None else {200: Document},
            into=into,
            body=body,
            sends_none=True,
            file=file,
            headers={name: value for name, value in headers.items() if value is not None},
        )
        try:
            return self._client.run(self._client.session.flow(call))
        except Problem as problem:
            raise GatewayError(_told(problem), status=problem.status) from problem
        except Unreachable as error:
            raise GatewayError(
                f"the gateway at {self._url} does not answer ({error.kind}); "
                "start a stack with `foretopic up`, or set FORETOPIC_GATEWAY_PORT"
            ) from error
        except UnexpectedAnswer as error:
            raise GatewayError(f"the gateway at {self._url}: {error}") from error


def _query(asked: Mapping[str, object]) -> str:
    given = {name: str(value) for name, value in asked.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _told(problem: Problem) -> str:
    if not problem.is_described:
        return f"the gateway answered {problem.status}: {problem.detail}"
    return problem.told + (_SIGN_IN if problem.status == HTTPStatus.UNAUTHORIZED else "")
