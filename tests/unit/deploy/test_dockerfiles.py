from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.unit.deploy.containers import IMAGES, OWN_PACKAGES, ROOT, Dockerfile, image_of, services

#: Imports the modules of an image as they will be there, and says which of our packages came with them.
PROBE = """
import importlib, json, pkgutil, sys
sys.path[:0] = sys.argv[1:3]
for name in sys.argv[3:]:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        if ".migrations" not in found.name:  # these run only inside Alembic
            importlib.import_module(found.name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_every_dockerfile_is_known_and_used() -> None:
    assert {file.name.removesuffix(".Dockerfile") for file in (ROOT / "deploy").glob("*.Dockerfile")} == set(IMAGES)
    assert {image_of(service) for service in services().values()} - {None} == set(IMAGES)


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_copied_paths_exist_and_reach_the_build(image: str) -> None:
    allowed = {
        line.removeprefix("!").rstrip("/")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for path in Dockerfile.read(image).copied:
        assert (ROOT / path).exists(), path
        assert path.partition("/")[0] in allowed, path


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_only_own_packages_of_the_service_are_copied(image: str) -> None:
    assert set(Dockerfile.read(image).copied) & OWN_PACKAGES == IMAGES[image][0]


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_dependencies_are_pinned_by_hash(image: str) -> None:
    installs = [
        line for line in Dockerfile.read(image).all("RUN", stage=0) for line in line.split("&&") if "install" in line
    ]
    assert len(installs) >= 2
    for install in installs:
        assert "--require-hashes" in install or "--no-deps" in install, install
    assert f"requirements/{image}.txt" in " ".join(installs)
    assert "--hash=sha256:" in (ROOT / "requirements" / f"{image}.txt").read_text()


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_image_that_runs_is_small_and_not_root(image: str) -> None:
    """Red without the line `USER 10001` of a Dockerfile."""
    dockerfile = Dockerfile.read(image)
    assert len(dockerfile.stages) == 2
    assert [text.split()[0] for text in dockerfile.all("FROM")] == ["python:3.12-slim"] * 2
    [user] = dockerfile.all("USER", stage=-1)
    assert user.isdecimal()
    assert int(user) > 0
    assert all(text.startswith("--from=build ") for text in dockerfile.all("COPY", stage=-1))
    assert "pip" not in " ".join(dockerfile.all("RUN", stage=-1))


@pytest.mark.parametrize("image", sorted(set(IMAGES) - {"client"}))
def test_health_check_asks_the_port_that_is_listened_on(image: str) -> None:
    dockerfile = Dockerfile.read(image)
    [check] = dockerfile.all("HEALTHCHECK", stage=-1)
    [port] = dockerfile.all("EXPOSE", stage=-1)
    environment = dockerfile.environment
    told = environment.get("FORETOPIC_GATEWAY_PORT") or environment.get("FORETOPIC_METRICS_PORT")
    if told is None:
        [told] = re.findall(r'"--port", "(\d+)"', " ".join(dockerfile.all("CMD")))
    assert port == told
    assert f"http://127.0.0.1:{port}/health" in check


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


def build(image: str, folder: Path) -> Path:
    """Build the wheel from exactly what the Dockerfile copies; return the folder into which it is unpacked."""
    context = folder / image / "context"
    for path in Dockerfile.read(image).copied:
        source, target = ROOT / path, context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif not path.startswith("requirements/"):
            shutil.copy(source, target)
    dist = folder / image / "dist"
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
    subprocess.run(command, cwd=context, check=True, capture_output=True)
    [wheel] = dist.glob("*.whl")
    unpacked = folder / image / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


def locked(image: str) -> set[str]:
    text = (ROOT / "requirements" / f"{image}.txt").read_text()
    return {canonical(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, flags=re.MULTILINE)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def libraries(image: str, folder: Path) -> Path:
    """Return a folder with the libraries of the image's lock file, out of those that are installed here."""
    found = folder / image / "libraries"
    found.mkdir()
    wanted = locked(image)
    for distribution in importlib.metadata.distributions():
        if canonical(distribution.metadata["Name"]) not in wanted:
            continue
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (found / top).exists():
                (found / top).symlink_to(Path(str(distribution.locate_file(top))))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("image", sorted(image for image, (own, _) in IMAGES.items() if own))
def test_image_has_what_its_modules_import(image: str, wheelhouse: Path) -> None:
    """All modules load with nothing but the copied packages and the libraries of the lock file."""
    unpacked = build(image, wheelhouse)
    assert {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")} == IMAGES[image][0]
    # Without `site`, so that neither the checkout, installed as editable, nor other libraries are found.
    command = [sys.executable, "-I", "-S", "-c", PROBE, str(unpacked), str(libraries(image, wheelhouse))]
    command += IMAGES[image][1]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240, cwd=wheelhouse)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert OWN_PACKAGES & set(json.loads(ran.stdout.splitlines()[-1])) <= IMAGES[image][0]


@pytest.mark.parametrize("image", ["gateway", "ingestor", "predictor", "client"])
def test_torch_is_in_the_image_of_the_trainer_only(image: str) -> None:
    assert "\ntorch==" in (ROOT / "requirements" / "trainer.txt").read_text()
    assert "\ntorch==" not in (ROOT / "requirements" / f"{image}.txt").read_text()
