"""From an empty stack to the first forecast, over the gateway's HTTP API as any user would go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from foretopic.errors import ForetopicError, GatewayError, NotReady
from foretopic.gateway_client import GatewayClient
from foretopic.reporter import Reporter
from foretopic.tables import backtest_table, forecast_table, verdict
from runtime.clock import Clock
from schemas.forecasts import default_model_name
from schemas.trainings import FINAL_TRAINING_STATES

SERIES_ID = "market/AAPL@1d"
MODEL = default_model_name(SERIES_ID)
HORIZON = 10
_CAUSE = "first-start"
_INGEST = {
    "series_id": SERIES_ID,
    "sources": ["yahoo", "sample"],
    "symbol": "AAPL",
    "freq": "1d",
    "calendar": "XNYS",
    "cause": _CAUSE,
}
#: Yahoo alone: the sample has no later prices, and would take the series over for a day on which Yahoo is away.
_SCHEDULE = {
    "sources": ["yahoo"],
    "symbol": "AAPL",
    "calendar": "XNYS",
    "after_close_minutes": 30,
    "jitter_seconds": 300,
    "cause": _CAUSE,
}
_TRAINING = {"series_ids": [SERIES_ID], "horizon": HORIZON, "cause": _CAUSE}
_POLL_SECONDS = 0.2
_INGEST_SECONDS = 300.0
_TRAINING_SECONDS = 1800.0
_READY_SECONDS = 180.0


class Stopped(ForetopicError):
    """Say that nobody waits any more."""


class FirstRun:
    """Loads AAPL and schedules it, trains its model, shows its forecast; what is there already is not done again.

    Args:
        client: The gateway.
        is_stopped: Whether to give up waiting.
    """

    def __init__(
        self, client: GatewayClient, reporter: Reporter, *, clock: Clock, is_stopped: Callable[[], bool]
    ) -> None:
        self._client = client
        self._reporter = reporter
        self._clock = clock
        self._is_stopped = is_stopped

    def run(self) -> None:
        """Go all the way.

        Raises:
            Stopped: ``is_stopped`` said so.
            ForetopicError: A step failed; the text says which and why.
        """
        self._await("the gateway", _READY_SECONDS, self._has_caught_up)
        if not self._has_series():
            self._ingest()
        if self._champion() is None:
            self._train()
        self._await("a model that answers", _READY_SECONDS, self._client.is_ready)
        forecast = self._client.forecast({"series_id": SERIES_ID, "horizon": HORIZON})
        self._show(forecast)

    def _has_caught_up(self) -> bool:
        """Whether the gateway has read the log: before that it cannot say what is there already."""
        try:
            return self._client.is_caught_up()
        except GatewayError as error:
            if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise  # waiting does not help
            return False

    def _has_series(self) -> bool:
        return any(series["series_id"] == SERIES_ID for series in self._client.series())

    def _champion(self) -> Mapping[str, Any] | None:
        for model in self._client.models():
            if model["model"] == MODEL and model["champion"] is not None:
                versions = {version["version"]: version for version in model["versions"]}
                return versions.get(model["champion"])
        return None

    def _ingest(self) -> None:
        self._reporter.line(f"Loading daily prices of {_INGEST['symbol']} ...")
        asked = self._client.ask_ingest(_INGEST)
        ended: dict[str, Any] = {}

        def has_ended() -> bool:
            ended.update(self._client.ingest(asked["ingest_id"]))
            return ended["state"] in ("succeeded", "failed")

        self._await("the ingest", _INGEST_SECONDS, has_ended)
        if ended["state"] == "failed":
            raise GatewayError(f"{SERIES_ID} could not be loaded: {ended['reason']}")
        if ended.get("reason"):
            self._reporter.line(f"Note: {ended['reason']}")
        self._await("the new series", _READY_SECONDS, self._has_series)
        self._client.set_source(SERIES_ID, _SCHEDULE)

    def _train(self) -> None:
        asked = self._client.ask_training(_TRAINING)
        latest: dict[str, Any] = {}
        with self._reporter.work(f"Training {asked['model']}") as work:

            def has_ended() -> bool:
                latest.clear()
                latest.update(self._client.training(asked["training_id"]))
                fraction = latest.get("fraction") or 0.0
                work.update(fraction, describe_training(latest))
                # The release comes before the end: the run is still being recorded in MLflow then.
                return latest["state"] in FINAL_TRAINING_STATES or (fraction >= 1 and self._champion() is not None)

            self._await("the training", _TRAINING_SECONDS, has_ended)
        if latest["state"] in FINAL_TRAINING_STATES - {"succeeded"}:
            raise GatewayError(f"the training {latest['state']}: {latest.get('reason') or 'no reason given'}")

    def _show(self, forecast: Mapping[str, Any]) -> None:
        champion = self._champion()
        series = next(entry for entry in self._client.series() if entry["series_id"] == SERIES_ID)
        self._reporter.show(forecast_table(forecast))
        if champion is not None:
            self._reporter.show(backtest_table(champion))
            self._reporter.line(verdict(champion))
        last_day = str(series["last_time"]).partition("T")[0]
        self._reporter.line(f"Prices: {series['source']}, {series['rows']} rows to {last_day}.")
        used = forecast["model"]
        self._reporter.line(f"Model: {used['name']}:{used['version']} ({used['algorithm']}, {used['role']}).")

    def _await(self, what: str, seconds: float, condition: Callable[[], bool]) -> None:
        end = self._clock.monotonic() + seconds
        while not condition():
            if self._is_stopped():
                raise Stopped(f"stopped while waiting for {what}")
            if self._clock.monotonic() >= end:
                raise NotReady(what, seconds, "see `foretopic status` and `foretopic logs`")
            self._clock.sleep(_POLL_SECONDS)


def describe_ingest(event: Mapping[str, Any]) -> str:
    """Return where an ingest is: how many rows it has published, and back to which day."""
    parts = [str(event["state"])]
    if event.get("rows_published"):
        parts.append(f"{event['rows_published']} rows")
    if event.get("first_time"):
        parts.append(f"since {str(event['first_time'])[:10]}")
    if event["state"] == "running" and event.get("reason"):
        parts.append(f"({event['reason']})")
    return " ".join(parts)


def describe_training(event: Mapping[str, Any]) -> str:
    """Return where a training is: its stage, epoch and losses."""
    parts = [str(event.get("stage") or event["state"])]
    if event.get("epoch") is not None:
        parts.append(f"epoch {event['epoch']}")
    parts += [f"{name} loss {loss:.5g}" for name, loss in sorted((event.get("losses") or {}).items())]
    return " ".join(parts)
