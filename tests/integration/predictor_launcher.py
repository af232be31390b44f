"""Start predictors quickly: imports once, then forks a child for each line of JSON with its environment and log file."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import exchange_calendars  # noqa: F401  # imported by the children later, at two seconds each
import kafka.partitioner  # noqa: F401

from predictor import __main__ as predictor


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.environ.update(order["environment"])
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = 1
            try:
                code = predictor.main()
            finally:
                with Path(order["log"] + ".exit").open("a") as ended:
                    ended.write(f"{os.getpid()} {code}\n")
                os._exit(code)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
