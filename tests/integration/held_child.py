"""``trainer.child`` that waits at a moment for as long as a file names it: it can be met there, however fast it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer import child, mlflow_recorder
from trainer.jobs import JobEvent, Progressed

#: The variable with the place of the file. In it stands a stage, ``epoch`` (one is told of) or ``recorded``.
HOLD = "HELD_CHILD"


def wait_at(*moments: str) -> None:
    """Wait while one of these moments stands in the file."""
    try:
        while Path(os.environ[HOLD]).read_text() in moments:
            time.sleep(0.02)
    except FileNotFoundError:
        return  # Nobody holds us any more.


def run_held(task: child.Task, emit: Callable[[JobEvent], None]) -> None:
    def tell(event: JobEvent) -> None:
        emit(event)
        if isinstance(event, Progressed):
            wait_at(event.stage, *(["epoch"] if event.epoch else []))

    run_task(task, tell)


def fill_held(client: Any, run: Any, content: Any) -> None:
    """Write the whole run, and wait before it is said to be finished."""
    finish = client.set_terminated

    def finish_held(*arguments: Any) -> None:
        wait_at("recorded")
        finish(*arguments)

    client.set_terminated = finish_held
    fill(client, run, content)


if __name__ == "__main__":
    run_task, child.run_task = child.run_task, run_held
    fill, mlflow_recorder._fill = mlflow_recorder._fill, fill_held
    child.main()
