"""The child processes that read uploads: so many at a time, with nothing of ours in their environment."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.accounts.projects import LOCAL_ORGANISATION
from gateway.problems import FieldFault, Problem, unavailable
from gateway.uploads.jobs import Done, Job

_AT_A_TIME = 2
#: Uploads of operators, and of who runs a machine of their own.
_NO_TENANT = frozenset({"", LOCAL_ORGANISATION})
_WAIT_SECONDS = 10.0
_MAX_ANSWER_BYTES = 16 * 1024 * 1024
#: Of our own environment, what Python needs to find itself; secrets of the gateway stay here.
_PASSED = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")


class Readers:
    """Starts a child for each job; safe to call from several threads.

    Args:
        timeout_seconds: How long a child may take.
    """

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._changed = threading.Condition()
        #: Children that work now, by the organisation whose upload they read.
        self._working: Counter[str] = Counter()

    def run(self, job: Job, folder: Path, organisation_id: str) -> Done:
        """Let a child do a job; its answer comes by a file, which has a largest size.

        Raises:
            Problem: 422 what it found wrong, or that it was ended; 503 too many work already.
        """
        answer = folder / "answer.json"
        with self._turn(organisation_id):
            try:
                code = self._child(job, answer)
                if code == 0 and answer.stat().st_size <= _MAX_ANSWER_BYTES:
                    done = msgspec.json.decode(answer.read_bytes(), type=Done)
                else:
                    expected = f"what can be read in {job.limits.memory_bytes} bytes and {job.limits.cpu_seconds} s"
                    done = Done(fault=("file", expected, f"a process that ended with exit code {code}"))
            except subprocess.TimeoutExpired:
                limit = f"{self._timeout_seconds:g} s"
                done = Done(fault=("file", f"what can be read in {limit}", "one that takes longer"))
            finally:
                answer.unlink(missing_ok=True)
        if done.fault is not None:
            field, expected, found = done.fault
            raise Problem(
                422,
                "invalid-upload",
                f"{field}: {expected} was expected, found {found}",
                errors=[FieldFault(field=field, expected=expected, found=found)],
            )
        return done

    def _child(self, job: Job, answer: Path) -> int:
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        # Threads would each take address space, which is limited.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "gateway.uploads.child", str(answer)],
            input=msgspec.json.encode(job),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=self._timeout_seconds,
            check=False,
            start_new_session=True,
        )
        return done.returncode

    @contextmanager
    def _turn(self, organisation_id: str) -> Iterator[None]:
        # One tenant's slow files must not keep everybody else's waiting.
        most_of_one = _AT_A_TIME if organisation_id in _NO_TENANT else _AT_A_TIME - 1

        def has_place() -> bool:
            return self._working.total() < _AT_A_TIME and self._working[organisation_id] < most_of_one

        with self._changed:
            if not self._changed.wait_for(has_place, timeout=_WAIT_SECONDS):
                raise unavailable("busy", "other uploads are being read; come again")
            self._working[organisation_id] += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= Counter((organisation_id,))
                self._changed.notify_all()
