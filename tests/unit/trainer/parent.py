"""A process that starts the child of a training, names it, and waits to be killed."""

from __future__ import annotations

import signal
import sys

from tests.unit.trainer.test_child_process import new_runner, start

if __name__ == "__main__":
    runner = new_runner()
    start(runner, "sleeps")
    while not runner.poll():
        pass
    sys.stdout.write(f"{runner.processes()['sleeps']}\n")
    sys.stdout.flush()
    signal.pause()
