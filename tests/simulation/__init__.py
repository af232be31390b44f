"""The whole system in one process, under a seeded scheduler that crashes, delays, repeats and rebalances.

`world` runs a seed, `weather` is the network, `invariants` judge the log, `faults` take protections away.
"""

from __future__ import annotations

import logging

import structlog


def quiet() -> None:
    """Keep the services from logging: nobody reads it, and it would take longer than the rest."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
