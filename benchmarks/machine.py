"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = (
    "foretopic",
    "kafka-python",
    "faust-streaming",
    "aiokafka",
    "onnxruntime",
    "torch",
    "flask",
    "gunicorn",
    "fastapi",
)


def processor() -> str:
    """Return the model name of the processor, or its architecture where the system does not tell."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def description(packages: Sequence[str] = PACKAGES) -> list[str]:
    """Return lines that name the machine, the day and the versions."""
    memory = psutil.virtual_memory().total / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, {cores} cores of {processor()}, {memory:.0f} GiB, {platform.system()}",
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in packages),
    ]
