"""The class archive: written once, read from then on, made anew when Java or a jar changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from foretopic.java import Java
from foretopic.kafka_archive import ClassArchive


@pytest.fixture
def jar(tmp_path) -> Path:
    path = tmp_path / "kafka.jar"
    path.write_bytes(b"jar")
    return path


def archive(tmp_path: Path, jar: Path, major: int = 17) -> ClassArchive:
    java = Java(path=Path("/usr/bin/java"), version=f"{major}.0.1", major=major)
    return ClassArchive(tmp_path / "classes", java=java, jars=[jar])


def draft_of(options: list[str]) -> Path:
    (option,) = options
    return Path(option.partition("=")[2])


@pytest.mark.parametrize(
    ("major", "writes", "reads"),
    [(17, "-XX:ArchiveClassesAtExit=", "-XX:SharedArchiveFile="), (25, "-XX:AOTCacheOutput=", "-XX:AOTCache=")],
)
def test_first_run_writes_what_the_next_one_reads(tmp_path, jar, major, writes, reads):
    first = archive(tmp_path, jar, major)
    assert first.reading_options() == []
    assert first.options()[0].startswith(writes)
    draft_of(first.options()).write_bytes(b"classes")
    first.keep(is_whole=True)
    (option,) = [option for option in archive(tmp_path, jar, major).options() if option.startswith(reads)]
    assert Path(option.partition("=")[2]).read_bytes() == b"classes"


def test_archive_of_a_killed_broker_is_thrown_away(tmp_path, jar):
    # Goes red without `is_whole` in ClassArchive.keep.
    first = archive(tmp_path, jar)
    draft_of(first.options()).write_bytes(b"half of the cla")
    first.keep(is_whole=False)
    assert archive(tmp_path, jar).reading_options() == []
    assert list((tmp_path / "classes").iterdir()) == []


def test_changed_jar_or_java_has_another_archive(tmp_path, jar):
    first = archive(tmp_path, jar)
    draft_of(first.options()).write_bytes(b"classes")
    first.keep(is_whole=True)
    assert archive(tmp_path, jar, major=21).reading_options() == []
    os.utime(jar, ns=(1, 1))
    assert archive(tmp_path, jar).reading_options() == []
