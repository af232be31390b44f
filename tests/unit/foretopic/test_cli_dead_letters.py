"""The commands on dead letters, on the in-memory broker: what they send, and what they decide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result

import foretopic.cli_dead_letters as commands
from foretopic.cli import main
from runtime.broker import TopicPartition
from runtime.clock import SystemClock
from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from schemas import topics
from schemas.dead_letters import REPLAY_OF, dead_letter_id
from tests import factories
from tests.unit.gateway.world import publish

NAME = "training-requests/2/7"
LETTER = factories.dead_letter(
    topic="training-requests", partition=2, offset=7, key=b"k", value=b"\x00", headers={"h": b"1"}
)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    made = MemoryBroker(SystemClock())
    made.ensure_topics(specs())

    @contextmanager
    def opened(_settings: object) -> Iterator[MemoryBroker]:
        yield made

    monkeypatch.setattr(commands, "open_broker", opened)
    publish(made, topics.DEAD_LETTERS, LETTER)
    return made


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["dead-letters", *arguments])


def letters() -> dict[str, Any]:
    return {one["message"]: one for one in json.loads(run("list", "--json").stdout)}


def sent(broker: MemoryBroker) -> list[Any]:
    places = [TopicPartition("training-requests", number) for number in range(12)]
    return list(broker.reader(dict.fromkeys(places, 0)).poll(0.0, 100))


def test_a_replay_is_sent_and_decided_once(broker: MemoryBroker) -> None:
    assert letters()[NAME]["state"] == "waiting"
    result = run("replay", NAME, NAME, "--yes")
    assert (result.exit_code, f"{NAME} now stands at training-requests/" in result.output) == (0, True)
    (message,) = sent(broker)
    letter_id = dead_letter_id("training-requests", 2, 7)
    assert (message.key, message.value) == (b"k", b"\x00")
    assert dict(message.headers) == {"h": b"1", REPLAY_OF: letter_id.encode()}
    assert (letters()[NAME]["state"], letters()[NAME]["dead_letter_id"]) == ("replayed", letter_id)
    again = run("drop", NAME, "--yes")
    assert (again.exit_code, "was replayed before" in again.output, len(sent(broker))) == (2, True, 1)


def test_a_dropped_letter_is_not_sent(broker: MemoryBroker) -> None:
    assert run("drop", NAME, "--yes", "--reason", "a test").exit_code == 0
    assert (letters()[NAME]["state"], sent(broker)) == ("dropped", [])
    assert run("replay", NAME, "--yes").exit_code == 2


def test_nothing_is_decided_without_a_yes(broker: MemoryBroker) -> None:
    assert run("replay", NAME).exit_code == 1
    assert (letters()[NAME]["state"], sent(broker)) == ("waiting", [])


def test_a_letter_of_dead_letters_is_not_sent_round(broker: MemoryBroker) -> None:
    publish(broker, topics.DEAD_LETTERS, factories.dead_letter(topic="dead-letters"))
    assert run("replay", "dead-letters/0/0", "--yes").exit_code == 2
    assert run("replay", "nothing/0/0", "--yes").exit_code == 2
