"""A backfill on a real Kafka that is killed twenty times: it goes on where the log ends, and every row stands once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.errors import GroupIdNotFoundError

from tests.integration.ingestor_process import Client, ingestor_process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

HET = {"series_id": "market/HET@1h", "symbol": "HET", "sources": ("mock",), "freq": "1h"}
KILLS = 20
#: At most so many of some four hundred batches before each kill, so that the last one too comes before the end.
MOST = 16
LAUNCHER = "tests.integration.backfill_launcher"


@pytest.fixture
def client(kafka: str, topic_prefix: str) -> Iterator[Client]:
    client = Client(kafka, topic_prefix)
    yield client
    client.close()


def bury(client: Client) -> None:
    """Tell the group that its killed member is gone, as it finds out ten seconds later, and may have by now."""
    admin = KafkaAdminClient(bootstrap_servers=client.bootstrap_servers)
    try:
        group = f"{client.prefix}ingestor"
        # A group without members and without offsets is none.
        with suppress(GroupIdNotFoundError):
            members = admin.describe_groups([group])[group]["members"]
            admin.remove_group_members(group, [MemberToRemove(member_id=member["member_id"]) for member in members])
    finally:
        admin.close()


def fractions(client: Client) -> list[float]:
    return [event.fraction for event in client.events if event.state == "running" and event.fraction > 0]


def test_killed_twenty_times_a_backfill_goes_on_and_every_row_stands_once(client: Client, tmp_path: Path) -> None:
    """Red without `IngestLog.progress` (each start asks for everything again) and without `Ingests` knowing the log."""
    client.ask("backfill", **HET)
    for kill in range(KILLS):
        before = client.observations_written()
        with ingestor_process(client, tmp_path, LAUNCHER, MOST) as process:
            # By the broker, and after another number of batches each time: the kill may fall between any two effects.
            client.wait_until(lambda most=before + kill % 4: client.observations_written() > most, "another part")
            process.kill()
            process.wait(60)
        bury(client)
        client.catch_up()
        assert client.final("backfill") is None, f"the backfill was over before kill {kill}"
    with ingestor_process(client, tmp_path, LAUNCHER):
        event = client.wait_for_end("backfill")

    times = client.times("market/HET@1h")
    assert event.state == "succeeded"
    assert len(times) == len(set(times)) > 50_000
    # Each start went on where the one before was cut: what was told never went back, and little came twice.
    assert fractions(client) == sorted(fractions(client))
    assert event.rows_received <= len(times)
