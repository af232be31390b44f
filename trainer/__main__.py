"""Run the trainer as a process."""

from __future__ import annotations

import sys

from runtime.process import run_service
from trainer.compose import build
from trainer.metrics import TrainerMetrics
from trainer.service import SERVICE
from trainer.settings import TrainerSettings


def main() -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    metrics = TrainerMetrics()
    return run_service(
        SERVICE,
        TrainerSettings,
        lambda settings, _, health: build(settings, metrics=metrics, health=health),
        metrics,
    )


if __name__ == "__main__":
    sys.exit(main())
