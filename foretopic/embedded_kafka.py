"""A real Apache Kafka in child processes: one broker for a machine, three for tests of failure."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from foretopic import ports
from foretopic.errors import DiskFull, ForetopicError, HomeBusy, NotReady, PortBusy, ProcessDied
from foretopic.home import HomeLock, require_space
from foretopic.java import Java, find_java
from foretopic.kafka_archive import ClassArchive
from foretopic.kafka_config import LOGGING_PROPERTIES, BrokerPlace, server_properties
from foretopic.kafka_jars import JarCache, Notice, cache_directory
from foretopic.processes import describe_exit, start_child, stop_child, tail, wait_until
from runtime.clock import Clock, SystemClock

PORT_VARIABLE = "FORETOPIC_KAFKA_PORT"
MINIMUM_FREE_BYTES = 300 * 1024 * 1024
_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_FORMAT_SECONDS = 60.0
_MAIN_CLASS = "kafka.Kafka"
_FORMAT_CLASS = "kafka.tools.StorageTool"
#: What Kafka says when it cannot start, and the fault that it means.
_DISK_FULL_PHRASES = ("No space left on device", "Disk quota exceeded")
_PORT_BUSY_PHRASE = "Address already in use"
_LOG_LOCKED_PHRASE = "Failed to acquire lock on file .lock"


class EmbeddedKafka:
    """One or three KRaft brokers on the loopback address, their data under ``home``.

    The brokers are killed when the thread that called ``start`` or ``restart`` ends. A context manager starts on entry
    and stops on exit.

    Args:
        home: Where data, configuration and logs stay; made when missing. The same home brings the same topics back.
        port: Where clients connect; 0 takes free ports. Three brokers always take free ports.
        brokers: 1, or 3 with three replicas of which two must be in sync.
        heap_mebibytes: Java heap of each broker.
        environment: Where JAVA_HOME, PATH and the cache's place are looked up; that of the process when ``None``.
        minimum_free_bytes: Below this much free disk the start is refused.
        notice: Told what takes long: downloads.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int = 0,
        brokers: int = 1,
        heap_mebibytes: int = 256,
        environment: Mapping[str, str] | None = None,
        minimum_free_bytes: int = MINIMUM_FREE_BYTES,
        notice: Notice = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        if brokers not in (1, 3):
            raise ValueError(f"brokers must be 1 or 3, was {brokers}")
        if brokers != 1 and port != 0:
            raise ValueError(f"port must be 0 with {brokers} brokers, was {port}: each takes a free one")
        self._home = home.absolute()
        self._environment = dict(os.environ if environment is None else environment)
        self._heap_mebibytes = heap_mebibytes
        self._minimum_free_bytes = minimum_free_bytes
        self._notice = notice
        self._clock = clock or SystemClock()
        self._lock = HomeLock(self._home, "kafka.lock")
        self._wanted_port = port
        self._count = brokers
        self._places: tuple[BrokerPlace, ...] = ()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._log_starts: dict[int, int] = {}
        self._java: Java | None = None
        self._jars: tuple[Path, ...] = ()
        self._archive: ClassArchive | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Return the addresses for clients, ``host:port`` with commas between; known once prepared."""
        return ",".join(f"{ports.LOOPBACK}:{place.port}" for place in self._places)

    def log_path(self, broker_index: int = 0) -> Path:
        """Return the file to which a broker's output is appended."""
        name = "kafka.log" if self._count == 1 else f"kafka-{broker_index + 1}.log"
        return self._home / "logs" / name

    def prepare(self) -> None:
        """Take the home and make everything ready for ``command``: Java, jars, ports, configuration, formatted storage.

        Raises:
            HomeBusy: Another start uses this home.
            JavaMissing, JarsUnavailable, JarDamaged, PortBusy, DiskFull: As their texts say.
        """
        with ExitStack() as undo:
            self._lock.acquire()
            undo.callback(self._lock.release)
            require_space(self._home, self._minimum_free_bytes)
            if self._wanted_port:
                ports.require_free(self._wanted_port, user="Kafka", variable=PORT_VARIABLE)
            self._java = find_java(self._environment)
            cache = cache_directory(self._environment)
            repository = self._environment.get("FORETOPIC_MAVEN_REPOSITORY")
            self._jars = JarCache(cache / "jars", repository=repository).paths(self._notice)
            self._archive = ClassArchive(cache / "classes", java=self._java, jars=self._jars)
            self._places = self._choose_places()
            self._write_configuration()
            self._format()
            undo.pop_all()

    def release(self) -> None:
        """Let go of the home after ``prepare``; ``stop`` does it too."""
        self._lock.release()

    def start(self) -> None:
        """Start the brokers and return once all of them answer; may raise what ``prepare`` raises.

        Raises:
            ProcessDied: A broker ended at once; the text carries the end of its log.
            NotReady: A broker runs but does not answer.
        """
        self.prepare()
        try:
            for index in range(self._count):
                self._spawn(index)
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the brokers in order, kill what does not stop in time, and let go of the home."""
        for process in self._processes.values():
            # All at once: a broker hands its partitions over as long as another one lives.
            if process.poll() is None:
                process.terminate()
        ends = {index: stop_child(each, deadline_seconds=_STOP_SECONDS) for index, each in self._processes.items()}
        self._processes.clear()
        self.keep_archive(exit_code=ends.get(0))
        self._lock.release()

    def kill(self, broker_index: int) -> None:
        """End one broker with SIGKILL, as a crash does."""
        process = self._processes.pop(broker_index)
        process.kill()
        process.wait()

    def restart(self, broker_index: int) -> None:
        """Start a killed broker again on its old port and return once it answers."""
        if broker_index in self._processes:
            raise ValueError(f"broker {broker_index} runs; kill it first")
        self._spawn(broker_index)
        self.wait_until_ready()

    def pid(self, broker_index: int = 0) -> int:
        """Return the process id of a running broker."""
        return self._processes[broker_index].pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def command(self, broker_index: int = 0) -> list[str]:
        """Return the command line of a broker; ``prepare`` must have run."""
        if self._java is None or self._archive is None:
            raise ValueError("command is known after prepare")
        return [
            *self._java_command(heap_mebibytes=self._heap_mebibytes),
            "-XX:+ExitOnOutOfMemoryError",
            *(self._archive.options() if broker_index == 0 else self._archive.reading_options()),
            _MAIN_CLASS,
            str(self._configuration(broker_index)),
        ]

    def keep_archive(self, *, exit_code: int | None) -> None:
        """Keep the class archive that the first broker ever wrote at its end; nothing happens when it wrote none.

        Args:
            exit_code: How that broker ended; ``None`` when it did not run.
        """
        if self._archive is not None:
            self._archive.keep(is_whole=exit_code is not None and exit_code >= 0)

    def wait_until_ready(self, deadline_seconds: float = _START_SECONDS) -> None:
        """Return once every started broker answers and knows all the others."""

        def everybody_answers() -> bool:
            for index in self._processes:
                self._require_alive(index)
            return self.is_ready(brokers=len(self._processes))

        if not wait_until(everybody_answers, clock=self._clock, deadline_seconds=deadline_seconds):
            raise NotReady("Kafka", deadline_seconds, f"see {self.log_path()}")

    def is_ready(self, *, brokers: int = 1) -> bool:
        """Tell whether ``brokers`` brokers accept connections and count each other in."""
        open_places = [place for place in self._places if ports.is_open(place.port)]
        if len(open_places) < brokers:
            return False
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers, client_id="foretopic-start")
        except KafkaError:
            return False
        try:
            return len(admin.describe_cluster()["brokers"]) >= brokers
        except KafkaError:
            return False
        finally:
            admin.close()

    def explain(
        self, broker_index: int = 0, *, log_start: int | None = None, exit_code: int | None = None
    ) -> ForetopicError:
        """Return why a broker ended, as its log tells it from byte ``log_start`` on, else from its last start on."""
        after = self._log_starts.get(broker_index, 0) if log_start is None else log_start
        text = tail(self.log_path(broker_index), lines=400, after=after)
        process = self._processes.get(broker_index)
        if exit_code is None and process is not None:
            exit_code = process.poll()
        place = self._places[broker_index]
        if any(phrase in text for phrase in _DISK_FULL_PHRASES):
            return DiskFull(self._home, self._minimum_free_bytes, shutil.disk_usage(self._home).free)
        if _PORT_BUSY_PHRASE in text:
            return PortBusy(place.port, "Kafka", PORT_VARIABLE)
        if _LOG_LOCKED_PHRASE in text:
            return HomeBusy(self._home, None)
        return ProcessDied(
            "Kafka", describe_exit(exit_code), self.log_path(broker_index), "\n".join(text.splitlines()[-15:])
        )

    def _spawn(self, broker_index: int) -> None:
        log_path = self.log_path(broker_index)
        self._log_starts[broker_index] = log_path.stat().st_size if log_path.exists() else 0
        self._processes[broker_index] = start_child(
            self.command(broker_index), log_path=log_path, environment=self._environment
        )

    def _require_alive(self, broker_index: int) -> None:
        if self._processes[broker_index].poll() is not None:
            raise self.explain(broker_index)

    def _choose_places(self) -> tuple[BrokerPlace, ...]:
        taken: set[int] = {self._wanted_port}

        def choose() -> int:
            port = ports.free_port(taken)
            taken.add(port)
            return port

        return tuple(
            BrokerPlace(
                node_id=index + 1,
                port=self._wanted_port or choose(),
                controller_port=choose(),
                log_directory=self._home / "kafka" / f"log-{index + 1}",
            )
            for index in range(self._count)
        )

    def _configuration(self, broker_index: int) -> Path:
        return self._home / "kafka" / f"server-{broker_index + 1}.properties"

    def _write_configuration(self) -> None:
        for index, place in enumerate(self._places):
            path = self._configuration(index)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(server_properties(place, self._places), encoding="utf-8")
        (self._home / "kafka" / "logging.properties").write_text(LOGGING_PROPERTIES, encoding="utf-8")
        # Native libraries of compression are unpacked here; a killed broker leaves them behind.
        shutil.rmtree(self._home / "kafka" / "tmp", ignore_errors=True)
        (self._home / "kafka" / "tmp").mkdir()

    def _format(self) -> None:
        """Format the storage of brokers that have none yet; all get the same cluster id."""
        cluster_id = new_cluster_id(uuid.uuid4().bytes)
        for index, place in enumerate(self._places):
            if (place.log_directory / "meta.properties").exists():
                continue
            command = [
                *self._java_command(heap_mebibytes=64),
                "-XX:TieredStopAtLevel=1",
                *(self._archive.reading_options() if self._archive is not None else ()),
                _FORMAT_CLASS,
                *("format", "--cluster-id", cluster_id, "--config", str(self._configuration(index))),
            ]
            result = subprocess.run(  # noqa: S603  # the command is ours
                command, env=self._environment, capture_output=True, text=True, timeout=_FORMAT_SECONDS, check=False
            )
            if result.returncode != 0:
                log_path = self.log_path(index)
                log_path.parent.mkdir(parents=True, exist_ok=True)
                with log_path.open("a", encoding="utf-8") as log:
                    log_start = log.tell()
                    log.write(result.stdout + result.stderr)
                raise self.explain(index, log_start=log_start, exit_code=result.returncode)

    def _java_command(self, *, heap_mebibytes: int) -> list[str]:
        if self._java is None:
            raise ValueError("the command is known after prepare")
        return [
            str(self._java.path),
            f"-Xmx{heap_mebibytes}m",
            "-Xms32m",
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            "-Djava.awt.headless=true",
            # Threads would keep direct buffers as large as the largest message that they ever moved.
            "-Djdk.nio.maxCachedBufferSize=262144",
            f"-Djava.io.tmpdir={self._home / 'kafka' / 'tmp'}",
            f"-Djava.util.logging.config.file={self._home / 'kafka' / 'logging.properties'}",
            # The class path stands in a file: as an argument it would fill every list of processes.
            f"@{self._class_path_file()}",
        ]

    def _class_path_file(self) -> Path:
        path = self._home / "kafka" / "class-path"
        joined = os.pathsep.join(str(jar) for jar in self._jars).replace("\\", "\\\\").replace('"', '\\"')
        path.write_text(f'-cp "{joined}"\n', encoding="utf-8")
        return path


def new_cluster_id(random_bytes: bytes) -> str:
    """Return 16 bytes in Kafka's form of an id; never one with a hyphen in front, which Kafka takes for an option.

    >>> new_cluster_id(bytes([0b11111000]) + bytes(15))[0]
    'e'
    """
    lower = bytes([random_bytes[0] & 0b01111111]) + random_bytes[1:]
    return base64.urlsafe_b64encode(lower).decode().rstrip("=")
