"""Held rows on a real Kafka: released once, by whichever process, through kill -9; and no calendar stays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.incoming import Incoming
from schemas.quarantine import ObservationsQuarantined, release_id
from schemas.topics import QUARANTINE
from tests.factories import outgoing_message, quarantine_decided
from tests.integration.ingestor_process import Client, ingestor_process
from tests.integration.test_ingestor import require_lean

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ROWS = 60
ASKED = {"series_id": "market/P@1d", "symbol": "prices.csv", "sources": ("file",), "calendar": "XNYS"}


class QuarantineClient(Client):
    """Sees what is held, and decides about it."""

    def __init__(self, bootstrap_servers: str, prefix: str) -> None:
        self.held: list[ObservationsQuarantined] = []
        super().__init__(bootstrap_servers, prefix)

    def release(self, held: ObservationsQuarantined) -> None:
        decided = quarantine_decided(held.quarantine_id, series_id=held.series_id)
        self._producer.send(outgoing_message(QUARANTINE, decided, prefix=self.prefix)).result(60)

    def _learn(self, incoming: Incoming) -> None:
        super()._learn(incoming)
        if isinstance(incoming.record, ObservationsQuarantined):
            self.held.append(incoming.record)


@pytest.fixture
def client(kafka: str, topic_prefix: str) -> Iterator[QuarantineClient]:
    client = QuarantineClient(kafka, topic_prefix)
    yield client
    client.close()


def test_held_rows_are_released_once_by_whichever_process(
    client: QuarantineClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held and decided is known to the next process from the log alone."""
    monkeypatch.setenv("FORETOPIC_INGESTOR_FILES_DIRECTORY", str(tmp_path))
    days = np.busday_offset("2024-01-02", np.arange(ROWS))
    closes = [100.0 + day % 7 for day in range(ROWS)]
    closes[40] *= 100
    lines = [f"{day},{close}" for day, close in zip(days, closes, strict=True)]
    (tmp_path / "prices.csv").write_text("\n".join(["Date,Close", *lines]))
    client.ask("load", **ASKED)
    with ingestor_process(client, tmp_path) as process:
        assert client.wait_for_end("load").rows_quarantined == 1
        # Red when the gate asks the exchange's calendar in the service.
        require_lean(process)
        process.kill()
        process.wait(60)
    [held] = client.held
    client.release(held)
    for number in range(2):
        with ingestor_process(client, tmp_path) as process:
            assert client.wait_for_end(release_id(held.quarantine_id)).rows_published == 1
            client.ask(f"again-{number}", **ASKED)
            again = client.wait_for_end(f"again-{number}")
            process.kill()
            process.wait(60)
        assert (again.rows_published, again.rows_quarantined) == (0, 0)

    times = client.times("market/P@1d")
    assert (len(times), len(set(times)), len(client.held)) == (ROWS, ROWS, 1)
