"""Runs many seeds; importable, so that other processes can."""

from __future__ import annotations

from collections import Counter

from tests.simulation import quiet
from tests.simulation.invariants import Violation
from tests.simulation.world import World


def run_seeds(seeds: range) -> Counter[str]:
    """Run seeds and count what happened in them; the first violation is raised, with its seed."""
    quiet()
    happened: Counter[str] = Counter()
    for seed in seeds:
        world = World(seed)
        try:
            world.run()
        except Violation as error:
            # Notes do not travel between processes.
            raise Violation(error.invariant, "; ".join([str(error.args[1]), *error.__notes__])) from None
        happened += world.summary()
    return happened
