"""An ingestor whose source `mock` is asked for six days at a time: a backfill of some four hundred parts."""

from __future__ import annotations

import sys
from functools import partial

from ingestor.compose import build
from ingestor.fetching import fetch
from ingestor.mock import FIRST_HOUR, MockSource
from ingestor.providers import Policy
from ingestor.settings import SERVICE, IngestorSettings
from runtime.process import run_service
from tests.integration.held_ingestor import broker_of

PART_DAYS = 6

if __name__ == "__main__":
    parts = Policy(chunk_rows=24 * PART_DAYS, first_day=lambda _freq, _today: FIRST_HOUR.date())
    sys.exit(
        run_service(
            SERVICE,
            IngestorSettings,
            lambda settings, metrics, health: build(
                settings,
                broker=broker_of(settings),
                metrics=metrics,
                health=health,
                sources={"mock": partial(fetch, MockSource())},
                limits={"mock": parts},
            ),
        )
    )
