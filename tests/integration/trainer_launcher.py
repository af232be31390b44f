"""A trainer whose children can be held; see `tests.integration.held_child`."""

from __future__ import annotations

import sys
from functools import partial

from runtime.process import run_service
from tests.integration import held_child
from trainer import compose
from trainer.metrics import TrainerMetrics
from trainer.service import SERVICE
from trainer.settings import TrainerSettings

if __name__ == "__main__":
    compose.ChildProcessRunner = partial(compose.ChildProcessRunner, module=held_child.__name__)  # type: ignore[misc, assignment]
    metrics = TrainerMetrics()
    sys.exit(
        run_service(
            SERVICE,
            TrainerSettings,
            lambda settings, _, health: compose.build(settings, metrics=metrics, health=health),
            metrics,
        )
    )
