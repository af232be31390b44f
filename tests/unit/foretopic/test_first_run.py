"""From nothing to a forecast, against a gateway that answers from memory."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from foretopic.errors import GatewayError, NotReady
from foretopic.first_run import SERIES_ID, FirstRun, Stopped
from foretopic.reporter import Reporter
from tests.unit.foretopic.test_tables import FORECAST, VERSION


class Gateway:
    """A gateway in memory: work that is asked for goes one step at every look."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.has_series = False
        self.champion: str | None = None
        self.ingest_end = {"state": "succeeded", "source": "sample", "reason": "yahoo: could not be reached"}
        self.training_end = {"state": "succeeded", "version": "0123456789abcdef"}
        self._looks = 0

    def is_caught_up(self) -> bool:
        return True

    def is_ready(self) -> bool:
        return self.champion is not None

    def series(self) -> list[dict]:
        line = {"series_id": SERIES_ID, "source": "sample", "rows": 3270, "last_time": "2013-03-01T00:00:00Z"}
        return [line] if self.has_series else []

    def models(self) -> list[dict]:
        if self.champion is None:
            return []
        version = VERSION | {"version": self.champion}
        return [{"model": "market/AAPL-1d", "champion": self.champion, "versions": [version]}]

    def ask_ingest(self, body: dict) -> dict:
        self.asked.append("ingest")
        assert body["sources"] == ["yahoo", "sample"]
        return {"ingest_id": "ingest-1", "state": "queued"}

    def ingest(self, ingest_id: str) -> dict:
        self.has_series = self.ingest_end["state"] == "succeeded"
        return self.ingest_end

    def set_source(self, series_id: str, body: dict) -> dict:
        self.asked.append("schedule")
        assert (series_id, body["sources"], body["after_close_minutes"]) == (SERIES_ID, ["yahoo"], 30)
        return {"series_id": series_id, "state": "active"}

    def ask_training(self, body: dict) -> dict:
        self.asked.append("training")
        assert body["series_ids"] == [SERIES_ID]
        return {"training_id": "training-1", "state": "queued", "model": "market/AAPL-1d"}

    def training(self, training_id: str) -> dict:
        self._looks += 1
        if self._looks == 1:
            return {"state": "queued"}
        if self._looks == 2:
            losses = {"train": 0.0123, "validation": 0.0145}
            return {"state": "progress", "stage": "fitting", "fraction": 0.4, "epoch": 3, "losses": losses}
        if self.training_end["state"] == "succeeded":
            self.champion = self.training_end["version"]
        return {"fraction": 1.0, "stage": "export", **self.training_end}

    def forecast(self, body: dict) -> dict:
        self.asked.append("forecast")
        assert body == {"series_id": SERIES_ID, "horizon": 10}
        model = {"name": "market/AAPL-1d", "version": self.champion, "algorithm": "lstm", "role": "champion"}
        return FORECAST | {"model": model}


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


def first_run(gateway: Gateway, output: io.StringIO, clock, is_stopped=lambda: False) -> FirstRun:
    console = Console(file=output, width=160, force_terminal=False)
    return FirstRun(gateway, Reporter(console), clock=clock, is_stopped=is_stopped)


def test_empty_stack_is_filled_and_forecast(output, clock):
    gateway = Gateway()
    first_run(gateway, output, clock).run()
    assert gateway.asked == ["ingest", "schedule", "training", "forecast"]
    text = output.getvalue()
    assert "Note: yahoo: could not be reached" in text
    assert "40% fitting epoch 3 train loss 0.0123 validation loss 0.0145" in text
    assert "2025-06-30" in text
    assert "Prices: sample, 3270 rows to 2013-03-01." in text
    assert "has a larger error than last-value" in text


def test_forecast_does_not_wait_for_the_record_of_the_training(output, clock):
    gateway = Gateway()
    gateway.training_end = {"state": "progress"}

    def released(training_id: str) -> dict:
        gateway.champion = "0123456789abcdef"
        return {"state": "progress", "stage": "export", "fraction": 1.0}

    gateway.training = released
    first_run(gateway, output, clock).run()
    assert gateway.asked == ["ingest", "schedule", "training", "forecast"]


def test_later_run_goes_straight_to_the_forecast(output, clock):
    gateway = Gateway()
    gateway.has_series, gateway.champion = True, "0123456789abcdef"
    first_run(gateway, output, clock).run()
    assert gateway.asked == ["forecast"]


def test_failed_ingest_is_told(output, clock):
    gateway = Gateway()
    gateway.ingest_end = {"state": "failed", "reason": "no source could be reached"}
    with pytest.raises(GatewayError, match="could not be loaded: no source could be reached"):
        first_run(gateway, output, clock).run()


def test_failed_training_is_told(output, clock):
    gateway = Gateway()
    gateway.training_end = {"state": "failed", "reason": "too few rows"}
    with pytest.raises(GatewayError, match="the training failed: too few rows"):
        first_run(gateway, output, clock).run()


def test_training_that_never_ends_is_given_up(output, clock):
    gateway = Gateway()
    gateway.training_end = {"state": "running"}
    with pytest.raises(NotReady, match="the training did not answer within 1800 s"):
        first_run(gateway, output, clock).run()


def test_stop_ends_the_wait(output, clock):
    gateway = Gateway()
    gateway.training_end = {"state": "running"}
    with pytest.raises(Stopped):
        first_run(gateway, output, clock, is_stopped=lambda: clock.monotonic() > 5).run()
