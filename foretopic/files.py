"""Where the ingestor of this machine's stack reads files of observations, and keeps the raw answers of providers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from foretopic.errors import ForetopicError
from foretopic.kafka_jars import digest

DIRECTORY_VARIABLE = "FORETOPIC_INGESTOR_FILES_DIRECTORY"
RAW_VARIABLE = "FORETOPIC_INGESTOR_RAW_DIRECTORY"


def files_directory(home: Path, environment: Mapping[str, str]) -> Path:
    """Return the directory below which the ingestor reads files: the one that is set, else one in the home."""
    given = environment.get(DIRECTORY_VARIABLE)
    return Path(given).absolute() if given else home.absolute() / "files"


def raw_directory(home: Path, environment: Mapping[str, str]) -> Path:
    """Return the directory in which raw answers are kept: the one that is set, else one in the home."""
    given = environment.get(RAW_VARIABLE)
    return Path(given).absolute() if given else home.absolute() / "raw"


def place_file(path: Path, directory: Path) -> str:
    """Return the name of a file as the ingestor knows it; copy it below ``directory`` when it lies elsewhere.

    Raises:
        ForetopicError: There is no such file.
    """
    if not path.is_file():
        raise ForetopicError(f"a CSV or Parquet file is expected, there is none at {path}")
    found, root = path.resolve(), directory.resolve()
    if found.is_relative_to(root):
        return str(found.relative_to(root))
    # Named by content too: two files of one name are two files, and the same file twice is one.
    copy = root / f"{digest(found)[:12]}-{found.name}"
    if not copy.exists():
        root.mkdir(parents=True, exist_ok=True)
        draft = copy.with_name(f".{copy.name}")
        shutil.copyfile(found, draft)
        draft.replace(copy)
    return copy.name
