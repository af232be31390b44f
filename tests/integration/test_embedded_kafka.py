"""The embedded Kafka: starts, keeps, fails over, and says clearly why it cannot start."""

from __future__ import annotations

import gc
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from foretopic import ports
from foretopic.embedded_kafka import EmbeddedKafka
from foretopic.errors import DiskFull, HomeBusy, JarDamaged, JarsUnavailable, JavaMissing, PortBusy, ProcessDied
from foretopic.kafka_jars import Jar, JarCache, digest
from foretopic.processes import wait_until
from runtime.clock import SystemClock
from tests.integration.installation import is_gone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def create_topic(servers: str, name: str, *, replicas: int = 1, **config: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics([NewTopic(name=name, num_partitions=1, replication_factor=replicas, topic_configs=config)])
    admin.close()


def write(servers: str, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=servers, max_request_size=70_000_000, acks="all")
    for sent in [producer.send(topic, value) for value in values]:
        sent.get(timeout=120)
    producer.close()


def read(servers: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_bytes=70_000_000,
        max_partition_fetch_bytes=70_000_000,
    )
    consumer.assign([TopicPartition(topic, 0)])
    found: list[bytes] = []

    def all_there() -> bool:
        for messages in consumer.poll(timeout_ms=500).values():
            found.extend(message.value for message in messages)
        return len(found) >= count

    assert wait_until(all_there, clock=SystemClock(), deadline_seconds=120)
    consumer.close()
    return found


def test_messages_survive_stop_and_start_on_the_same_home(tmp_path):
    with EmbeddedKafka(tmp_path) as kafka:
        create_topic(kafka.bootstrap_servers, "kept")
        write(kafka.bootstrap_servers, "kept", [b"one", b"two"])
        first_pid = kafka.pid()
    assert is_gone(first_pid)
    with EmbeddedKafka(tmp_path) as kafka:
        assert read(kafka.bootstrap_servers, "kept", 2) == [b"one", b"two"]


def test_message_of_64_mebibytes_goes_through(tmp_path):
    large = os.urandom(1024) * (64 * 1024 - 1)
    with EmbeddedKafka(tmp_path) as kafka:
        create_topic(kafka.bootstrap_servers, "large", **{"max.message.bytes": "67108864"})
        write(kafka.bootstrap_servers, "large", [large])
        assert read(kafka.bootstrap_servers, "large", 1) == [large]


def test_three_brokers_serve_on_while_one_is_dead(tmp_path):
    with EmbeddedKafka(tmp_path, brokers=3) as kafka:
        create_topic(kafka.bootstrap_servers, "replicated", replicas=3)
        write(kafka.bootstrap_servers, "replicated", [b"before"])
        dead_pid = kafka.pid(0)
        kafka.kill(0)
        assert is_gone(dead_pid)
        write(kafka.bootstrap_servers, "replicated", [b"while dead"])
        kafka.restart(0)
        write(kafka.bootstrap_servers, "replicated", [b"after"])
        assert read(kafka.bootstrap_servers, "replicated", 3) == [b"before", b"while dead", b"after"]


def test_second_start_on_a_running_home_is_refused(tmp_path):
    with EmbeddedKafka(tmp_path), pytest.raises(HomeBusy) as caught:
        EmbeddedKafka(tmp_path).start()
    assert caught.value.pid == os.getpid()


def test_busy_port_names_its_owner_and_the_variable(tmp_path):
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortBusy) as caught:
            EmbeddedKafka(tmp_path, port=port).start()
    assert f"port {port}" in str(caught.value)
    assert f"process {os.getpid()}" in str(caught.value)
    assert "FORETOPIC_KAFKA_PORT" in str(caught.value)
    # The refused start has let go of the home.
    again = EmbeddedKafka(tmp_path)
    again.prepare()
    again.release()


def test_full_disk_is_told_before_anything_starts(tmp_path):
    with pytest.raises(DiskFull):
        EmbeddedKafka(tmp_path, minimum_free_bytes=1 << 62).start()
    assert not (tmp_path / "kafka").exists()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("java.io.IOException: No space left on device", DiskFull),
        ("java.net.BindException: Address already in use", PortBusy),
        ("Failed to acquire lock on file .lock in /home/kafka/log-1.", HomeBusy),
        ("java.lang.IllegalStateException: something new", ProcessDied),
    ],
)
def test_failure_in_the_log_is_told_as_its_fault(tmp_path, line, fault):
    kafka = EmbeddedKafka(tmp_path)
    kafka.prepare()
    kafka.log_path().parent.mkdir(exist_ok=True)
    kafka.log_path().write_text(f"2026-01-01T00:00:00.000 SEVERE kafka.Kafka\n{line}\n\tat kafka.Kafka\n")
    assert isinstance(kafka.explain(), fault)
    kafka.release()


def test_broker_that_dies_at_once_is_told_with_its_log(tmp_path):
    kafka = EmbeddedKafka(tmp_path)
    kafka.prepare()
    kafka.release()
    meta = tmp_path / "kafka" / "log-1" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(ProcessDied, match=r"(?s)exit code 1.*node") as caught:
        EmbeddedKafka(tmp_path).start()
    assert caught.value.log_path.exists()


def test_missing_java_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("foretopic.java._bundled", lambda: None)
    with pytest.raises(JavaMissing):
        EmbeddedKafka(tmp_path, environment={"PATH": ""}).start()


def test_no_network_at_first_start_is_told(tmp_path):
    environment = os.environ | {
        "FORETOPIC_CACHE": str(tmp_path / "cache"),
        "FORETOPIC_MAVEN_REPOSITORY": f"http://{ports.LOOPBACK}:9",  # a port that nobody takes
    }
    with pytest.raises(JarsUnavailable, match=r"first start needs the network once.*FORETOPIC_CACHE"):
        EmbeddedKafka(tmp_path / "home", environment=environment).start()


START_AND_WAIT = """
import sys
from pathlib import Path
from foretopic.embedded_kafka import EmbeddedKafka
kafka = EmbeddedKafka(Path(sys.argv[1]))
kafka.start()
print(kafka.pid(), flush=True)
sys.stdin.read()
"""


def test_broker_dies_with_its_parent_and_the_home_is_usable_again(tmp_path):
    # Goes red without the prctl line in foretopic/leash.py.
    parent = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    broker_pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    assert wait_until(lambda: is_gone(broker_pid), clock=SystemClock(), deadline_seconds=60)
    with EmbeddedKafka(tmp_path) as kafka:
        assert kafka.is_ready()


class Repository:
    """A Maven repository on the loopback address that counts what it gives."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests: list[str] = []
        repository = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, directory=str(repository.directory), **kwargs)

            def do_GET(self):
                repository.requests.append(self.path)
                super().do_GET()

            def log_message(self, *args):
                return

        self.server = http.server.ThreadingHTTPServer((ports.LOOPBACK, 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.url = f"http://{ports.LOOPBACK}:{self.server.server_port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def put(self, name: str, content: bytes) -> Jar:
        path = self.directory / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return Jar(coordinate=f"org.example:{name}:1.0", sha256=digest(path))


@pytest.fixture
def repository(tmp_path):
    with Repository(tmp_path / "repository") as running:
        yield running


def test_jars_are_fetched_once(tmp_path, repository):
    jars = [repository.put("alpha", b"a" * 100), repository.put("beta", b"b" * 100)]
    cache = JarCache(tmp_path / "cache", repository=repository.url, jars=jars)
    assert [path.read_bytes() for path in cache.paths()] == [b"a" * 100, b"b" * 100]
    fetched = len(repository.requests)
    cache.paths()
    assert len(repository.requests) == fetched


def test_damaged_jar_is_named_and_fetched_anew(tmp_path, repository):
    # Goes red without the unlink in JarCache._fetch, or without the checksum in JarCache._is_whole.
    jar = repository.put("alpha", b"a" * 100)
    cache = JarCache(tmp_path / "cache", repository=repository.url, jars=[jar])
    (path,) = cache.paths()
    path.write_bytes(b"a" * 50)
    notices: list[str] = []
    (again,) = cache.paths(notices.append)
    assert again.read_bytes() == b"a" * 100
    assert any(str(path) in notice and "damaged" in notice for notice in notices)


def test_jar_that_stays_damaged_is_an_error_after_one_download(tmp_path, repository):
    jar = repository.put("alpha", b"not what was promised")
    wanted = Jar(coordinate=jar.coordinate, sha256="0" * 64)
    cache = JarCache(tmp_path / "cache", repository=repository.url, jars=[wanted])
    with pytest.raises(JarDamaged, match=r"alpha-1\.0\.jar is damaged") as caught:
        cache.paths()
    assert f"sha256 {'0' * 64} expected, {jar.sha256} found" in str(caught.value)
    assert sum(request.endswith(".jar") for request in repository.requests) == 1


# jgo leaves the answer to a failed download open; the collection at the end shows it inside this test.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_jar_that_the_repository_lacks_is_named(tmp_path, repository):
    repository.directory.mkdir()
    missing = Jar(coordinate="org.example:gone:1.0", sha256="0" * 64)
    with pytest.raises(JarsUnavailable, match=r"org\.example:gone:1\.0 could not be fetched"):
        JarCache(tmp_path / "cache", repository=repository.url, jars=[missing]).paths()
    gc.collect()
