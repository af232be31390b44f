"""Run one seed and show what it did: ``python -m tests.simulation SEED [--trace]``."""

from __future__ import annotations

import argparse
import sys

from tests.simulation import quiet
from tests.simulation.invariants import Violation
from tests.simulation.world import World

parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
parser.add_argument("seed", type=int)
parser.add_argument("--trace", action="store_true", help="print every effect")
arguments = parser.parse_args()

quiet()
world = World(arguments.seed)
try:
    world.run()
except Violation as violation:
    print("\n".join(world.trace) if arguments.trace else "", violation, *violation.__notes__, sep="\n")
    sys.exit(1)
print("\n".join(world.trace) if arguments.trace else "", world.digest(), sep="\n")
