"""A heavy source in a process of its own: it may print, hang or crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from ingestor.errors import BadSourceData, SourceUnreachable
from ingestor.fetching import fetch_in_child
from tests.unit.ingestor.child_sources import Crashing, Greedy, Hanging, Refusing, Talkative
from tests.unit.ingestor.frames import wanted

#: Only there to end a broken run: a child may start late on a busy machine.
PATIENCE_SECONDS = 120


def test_what_the_child_fetches_arrives_whatever_it_prints():
    fetched = fetch_in_child(Talkative(), wanted(), PATIENCE_SECONDS)

    assert fetched.rows_received == 2
    assert fetched.frame.columns["close"].tolist() == [1.0, 2.0]


def test_what_the_source_refuses_is_refused_here():
    with pytest.raises(BadSourceData, match="refusing: it is no good") as caught:
        fetch_in_child(Refusing(), wanted(), PATIENCE_SECONDS)
    assert caught.value.source == "refusing"


def test_a_child_that_hangs_is_ended_and_counts_as_unreachable():
    with pytest.raises(SourceUnreachable, match="hanging: gave no answer within 2 s"):
        fetch_in_child(Hanging(), wanted(), timeout_seconds=2)


def test_a_child_that_crashes_counts_as_unreachable():
    with pytest.raises(SourceUnreachable, match="its process ended with exit code 9"):
        fetch_in_child(Crashing(), wanted(), PATIENCE_SECONDS)


def test_ctrl_c_in_the_terminal_does_not_end_a_fetch(tmp_path):
    """Red without start_new_session: the dead child counts as unreachable, and the next source is taken."""
    code = (
        "import signal, sys; from pathlib import Path; from ingestor.fetching import fetch_in_child;"
        "from tests.unit.ingestor.child_sources import Slow; from tests.unit.ingestor.frames import wanted;"
        "signal.signal(signal.SIGINT, lambda *_: (Path(sys.argv[1]) / 'go-on').touch());"
        f"print(fetch_in_child(Slow(Path(sys.argv[1])), wanted(), {PATIENCE_SECONDS}).rows_received)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline, "the child has not begun"
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)

    assert out.strip() == "1"


def test_the_service_itself_loads_nothing_heavy():
    """What a fetch needs is loaded by the fetch: 150 MB that the idle service would hold."""
    code = "import sys, ingestor.__main__; print([m for m in ('pandas', 'yfinance', 'pyarrow', 'exchange_calendars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    assert done.stdout.strip() == "[]"


def test_a_child_that_takes_too_much_memory_is_refused_with_the_setting():
    """Red without `limit_process` in `ingestor.fetching.main`."""
    with pytest.raises(BadSourceData, match=r"needs more than 536870912 bytes of memory.*FETCH_MEMORY_BYTES"):
        fetch_in_child(Greedy(), wanted(), PATIENCE_SECONDS, memory_bytes=512 * 1024**2)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has ended")
def test_a_child_ends_with_the_service(tmp_path):
    """Red without `bind_life_to`: what hangs would go on after kill -9 of the service."""
    code = (
        "import sys; from pathlib import Path; from ingestor.fetching import fetch_in_child;"
        "from tests.unit.ingestor.child_sources import Telling; from tests.unit.ingestor.frames import wanted;"
        f"fetch_in_child(Telling(Path(sys.argv[1])), wanted(), {PATIENCE_SECONDS})"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    deadline = time.monotonic() + 120
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline, "the child has not begun"
        assert process.poll() is None
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    process.kill()
    process.wait(60)

    child.wait(60)  # raises when it goes on
