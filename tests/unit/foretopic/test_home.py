"""One process at a time on a home, and room on its disk."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from foretopic.errors import DiskFull, HomeBusy
from foretopic.home import HomeLock, lock_holder, require_space

HOLD_LOCK = """
import sys
from pathlib import Path
from foretopic.home import HomeLock
lock = HomeLock(Path(sys.argv[1]), "kafka.lock")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_second_holder_is_refused_and_told_who_has_it(tmp_path):
    # Goes red without LOCK_NB in HomeLock.acquire.
    first = HomeLock(tmp_path, "kafka.lock")
    first.acquire()
    with pytest.raises(HomeBusy) as caught:
        HomeLock(tmp_path, "kafka.lock").acquire()
    assert caught.value.pid == os.getpid()
    assert "FORETOPIC_HOME" in str(caught.value)
    first.release()


def test_released_lock_can_be_taken(tmp_path):
    first = HomeLock(tmp_path, "kafka.lock")
    first.acquire()
    first.release()
    second = HomeLock(tmp_path, "kafka.lock")
    second.acquire()
    second.release()


def test_lock_of_a_killed_process_is_no_obstacle(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(HomeBusy):
        HomeLock(tmp_path, "kafka.lock").acquire()
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert lock_holder(tmp_path / "kafka.lock") == holder.pid
    lock = HomeLock(tmp_path, "kafka.lock")
    lock.acquire()
    assert lock_holder(tmp_path / "kafka.lock") == os.getpid()
    lock.release()


def test_full_disk_is_told_with_both_numbers(tmp_path):
    with pytest.raises(DiskFull, match=r"MiB free, at least \d+ MiB are needed; .*FORETOPIC_HOME"):
        require_space(tmp_path, 1 << 62)


def test_enough_room_passes(tmp_path):
    require_space(tmp_path, 1)
