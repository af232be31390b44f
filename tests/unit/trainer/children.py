"""Child processes that behave as their training's id says; called as `trainer.child` is."""

from __future__ import annotations

import os
import signal
import sys

import msgspec

from tests.factories import model_release
from trainer.child import Task, bind_life_to
from trainer.jobs import Progressed, Recorded, Refused, Trained


def main() -> None:
    parent, descriptor = int(sys.argv[1]), int(sys.argv[2])
    bind_life_to(parent)
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    training_id = task.job.request.training_id
    encoder = msgspec.json.Encoder()

    def emit(event: object, end: bytes = b"\n") -> None:
        os.write(descriptor, encoder.encode(event) + end)

    emit(Progressed(training_id=training_id, index=0, stage="fitting", fraction=0.5))
    if training_id == "raises":
        raise RuntimeError("a bug")
    if training_id == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if training_id == "cut-off":
        emit(Refused(training_id=training_id, reason="x" * 100), end=b"")
        os.kill(os.getpid(), signal.SIGSEGV)
    if training_id == "sleeps":
        signal.pause()
    if training_id == "refused":
        emit(Refused(training_id=training_id, reason="too-little-history"))
        return
    emit(Trained(training_id=training_id, release=model_release(training_id=training_id, graph=b"g" * 1_000_000)))
    if training_id == "records-for-ever":
        signal.pause()
    emit(Recorded(training_id=training_id, run_id="run"))


if __name__ == "__main__":
    main()
