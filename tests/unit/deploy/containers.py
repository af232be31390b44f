"""What docker-compose.yml and the Dockerfiles say, read without Docker."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from foretopic.first_start import FirstStartSettings
from gateway.settings import GatewaySettings
from ingestor.settings import IngestorSettings
from predictor.settings import PredictorSettings
from runtime.create_topics import TopicsSettings
from runtime.settings import ServiceSettings
from trainer.settings import TrainerSettings

ROOT = Path(__file__).parents[3]
SETTINGS: dict[str, type[ServiceSettings]] = {
    "first-run": FirstStartSettings,
    "gateway": GatewaySettings,
    "ingestor": IngestorSettings,
    "predictor": PredictorSettings,
    "topics": TopicsSettings,
    "trainer": TrainerSettings,
}
OWN_PACKAGES = {"forecasting", "foretopic", "gateway", "ingestor", "predictor", "runtime", "schemas", "trainer"}
#: Image -> its own packages, and the modules that run in it.
IMAGES: dict[str, tuple[set[str], tuple[str, ...]]] = {
    "client": ({"foretopic", "runtime", "schemas"}, ("foretopic.first_start",)),
    "gateway": (
        {"foretopic", "gateway", "runtime", "schemas"},
        ("gateway", "runtime.create_topics", "runtime.kafka_broker", "foretopic.cli_admin"),
    ),
    "ingestor": ({"forecasting", "ingestor", "runtime", "schemas"}, ("ingestor",)),
    "mlflow": (set(), ()),
    "predictor": ({"forecasting", "predictor", "runtime", "schemas"}, ("predictor",)),
    "trainer": ({"forecasting", "runtime", "schemas", "trainer"}, ("trainer",)),
}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def env_example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str


@dataclass(frozen=True)
class Dockerfile:
    """One Dockerfile as its instructions, by stage."""

    path: Path
    stages: tuple[tuple[Instruction, ...], ...]

    @classmethod
    def read(cls, image: str) -> Dockerfile:
        path = ROOT / "deploy" / f"{image}.Dockerfile"
        text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
        stages: list[list[Instruction]] = []
        for line in text.replace("\\\n", " ").splitlines():
            name, _, rest = line.strip().partition(" ")
            if name == "FROM":
                stages.append([])
            if name:
                stages[-1].append(Instruction(name, " ".join(rest.split())))
        return cls(path, tuple(tuple(stage) for stage in stages))

    def all(self, name: str, *, stage: int | None = None) -> list[str]:
        chosen = self.stages if stage is None else (self.stages[stage],)
        return [instruction.text for found in chosen for instruction in found if instruction.name == name]

    @property
    def copied(self) -> list[str]:
        """Paths that come from the repository."""
        found = []
        for text in self.all("COPY"):
            words = shlex.split(text)
            if not words[0].startswith("--from="):
                found += words[:-1]
        return found

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the image that runs."""
        words = [word for text in self.all("ENV", stage=-1) for word in shlex.split(text)]
        return {name: value for name, _, value in (word.partition("=") for word in words)}


def image_of(service: dict[str, Any]) -> str | None:
    """Return the name of the Dockerfile from which a service is built."""
    if "build" not in service:
        return None
    return str(service["build"]["dockerfile"]).removeprefix("deploy/").removesuffix(".Dockerfile")
