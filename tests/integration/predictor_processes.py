"""Predictors as processes on a real Kafka, and the log that they write."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from runtime.broker import Message, OutgoingMessage, TopicPartition
from runtime.kafka_broker import KafkaBroker
from runtime.topic_specs import specs
from schemas.codec import decode
from schemas.errors import InvalidRecord
from schemas.record import Record
from schemas.topics import DEPLOYMENTS, FORECASTS, MODELS, OBSERVATIONS, PARTITIONS, Topic
from tests import factories
from tests.predictor_world import champion, release

_ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """Return what ``condition`` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return found


class Launcher:
    """Starts and kills predictor processes."""

    def __init__(self, folder: Path, servers: str, prefix: str) -> None:
        self.folder = folder
        self._environment = {
            "FORETOPIC_KAFKA_BOOTSTRAP_SERVERS": servers,
            "FORETOPIC_TOPIC_PREFIX": prefix,
            "FORETOPIC_PREDICTOR_SESSION_TIMEOUT_SECONDS": "6",
        }
        self._processes: set[int] = set()
        #: Every predictor that was started.
        self.started: set[int] = set()
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.predictor_launcher"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, name: str, **environment: str) -> int:
        """Start a predictor that is a static member ``name`` of its group, unless told otherwise; return its pid."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        order = {
            "environment": self._environment | {"FORETOPIC_PREDICTOR_INSTANCE_ID": name} | environment,
            "log": str(self.folder / f"{name}.log"),
        }
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        pid = int(self._server.stdout.readline())
        self._processes.add(pid)
        self.started.add(pid)
        return pid

    def signal(self, pid: int, number: int) -> None:
        os.kill(pid, number)
        if number == signal.SIGKILL:
            self._processes.discard(pid)

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.log"
        if not path.exists():
            return []
        found = []
        for line in path.read_bytes().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"event": "text", "text": line.decode(errors="replace")})
        return found

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines(name) if line.get("event") == event]

    def exit_codes(self, name: str) -> dict[int, int]:
        path = self.folder / f"{name}.log.exit"
        if not path.exists():
            return {}
        return {int(pid): int(code) for pid, code in (line.split() for line in path.read_text().splitlines())}

    def close(self) -> None:
        # Those that have told their exit code are ending by themselves, or their ids are those of other processes by now.
        ended = {
            pid for file in self.folder.glob("*.log.exit") for pid in self.exit_codes(file.name[: -len(".log.exit")])
        }
        for pid in self._processes - ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.kill()
        self._server.wait()
        for stream in (self._server.stdin, self._server.stdout):
            if stream is not None:
                stream.close()


class KafkaLog:
    """The topics of one installation, those keyed by series with ``partitions`` partitions."""

    def __init__(self, servers: str, prefix: str, partitions: int = PARTITIONS) -> None:
        self.prefix = prefix
        self.broker = KafkaBroker(servers, "test")
        self.broker.ensure_topics(
            replace(spec, partitions=partitions) if spec.partitions == PARTITIONS else spec for spec in specs(prefix)
        )
        self._producer = self.broker.producer()
        self._answers: dict[str, set[bytes]] = defaultdict(set)
        self._answer_count = 0
        answers = FORECASTS.full_name(prefix)
        self._reader = self.broker.reader(dict.fromkeys(self._partitions(answers), 0))

    def write(self, topic: Topic, *records: Record, partition: int | None = None) -> list[tuple[int, int]]:
        """Append records and return partition and offset of each."""
        return self.write_messages(
            factories.outgoing_message(topic, record, prefix=self.prefix, partition=partition) for record in records
        )

    def write_messages(self, messages: Iterable[OutgoingMessage]) -> list[tuple[int, int]]:
        deliveries = [self._producer.send(message) for message in messages]
        return [delivery.result(60) for delivery in deliveries]

    def write_raw(self, topic: Topic, value: bytes | None, partition: int, headers: Any = ()) -> tuple[int, int]:
        name = topic.full_name(self.prefix)
        message = OutgoingMessage(topic=name, key=b"junk", value=value, headers=tuple(headers), partition=partition)
        return self.write_messages([message])[0]

    def end(self, topic: Topic, partition: int = 0) -> int:
        source = TopicPartition(topic.full_name(self.prefix), partition)
        return self.broker.end_offsets([source])[source]

    def messages(self, topic: Topic) -> list[Message]:
        """Return everything that stands in a topic now."""
        sources = self._partitions(topic.full_name(self.prefix))
        ends = self.broker.end_offsets(sources)
        reader = self.broker.reader(dict.fromkeys(sources, 0))
        found: list[Message] = []
        try:
            wait_until(
                lambda: found.extend(reader.poll(0.2)) or all(reader.position(key) >= ends[key] for key in sources),
                f"all of {topic.name} read",
            )
        finally:
            reader.close()
        return found

    def records(self, topic: Topic) -> list[Any]:
        found = []
        for message in self.messages(topic):
            with contextlib.suppress(InvalidRecord):
                found.append(decode(topic, message.value, message.headers).record)
        return found

    def answers(self) -> dict[str, set[bytes]]:
        """Return the different answers to each request so far."""
        while polled := self._reader.poll(0.05):
            for message in polled:
                if message.value is None or not dict(message.headers).get("ce_type", b"").startswith(b"foretopic.Fore"):
                    continue
                try:
                    request_id = msgspec.json.decode(message.value)["request_id"]
                except msgspec.DecodeError:
                    continue  # what a test wrote as junk
                self._answers[request_id].add(message.value)
                self._answer_count += 1
        return self._answers

    @property
    def answer_count(self) -> int:
        """How many answers were read, repeats included."""
        return self._answer_count

    def answer(self, request_id: str, seconds: float = 120.0) -> Any:
        """Return the decoded JSON of the one answer to a request, waiting for it."""
        (value,) = wait_until(lambda: self.answers().get(request_id), f"{request_id} answered", seconds)
        return msgspec.json.decode(value)

    def close(self) -> None:
        self._reader.close()
        self._producer.close()
        self.broker.close()

    def _partitions(self, name: str) -> list[TopicPartition]:
        return [TopicPartition(name, number) for number in range(self.broker.partitions(name))]


def furnish(log: KafkaLog) -> None:
    """Write a series and its champion."""
    made = release()
    log.write(OBSERVATIONS, factories.observation_batch())
    log.write(MODELS, made)
    log.write(DEPLOYMENTS, champion(made))
