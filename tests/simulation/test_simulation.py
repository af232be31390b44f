"""What holds in every storm, and that taking any one protection away is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import structlog

from tests.simulation import quiet
from tests.simulation.faults import FAULTS
from tests.simulation.invariants import Violation
from tests.simulation.runner import run_seeds

SEEDS = 2_000
_CHUNK = 50


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = structlog.get_config()
    quiet()
    yield
    structlog.configure(**before)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # six minutes of two processors, which others may want too
def test_two_thousand_storms_break_no_invariant() -> None:
    chunks = [range(start, start + _CHUNK) for start in range(0, SEEDS, _CHUNK)]
    happened: Counter[str] = Counter()
    # Spawned: ONNX Runtime's threads do not live through a fork.
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for counted in pool.map(run_seeds, chunks):
            happened += counted
    # Storms in which nothing happens would prove nothing.
    assert happened["forecasts"] > SEEDS
    assert happened["releases"] > SEEDS / 2
    assert happened["refusals"] > SEEDS
    assert happened["kills"] > SEEDS
    assert happened["expiries"] > SEEDS
    assert happened["repeated answers"] > SEEDS / 10
    assert happened["dead letters"] > SEEDS / 4
    assert happened["second pins"] > SEEDS / 10
    assert happened["misplaced"] > SEEDS / 2


@pytest.mark.parametrize("seed", [3, 41])
def test_a_seed_replays_byte_for_byte(seed: int) -> None:
    def digest(hash_seed: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "tests.simulation", str(seed)],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout

    assert digest("1") == digest("2")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_planted_fault_is_caught(name: str) -> None:
    with FAULTS[name](), pytest.raises(Violation):
        run_seeds(range(400))
