"""Print the contract: ``python -m schemas asyncapi|jsonschema [--out FILE]``; ``publish`` records new revisions."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from schemas import asyncapi, evolution, jsonschema


def _write(document: object, out: Path | None) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")


def _publish() -> int:
    try:
        published = evolution.with_today(
            evolution.read_published() if evolution.PUBLISHED_PATH.exists() else {}, evolution.current()
        )
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _write(published, evolution.PUBLISHED_PATH)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 1 when records break what was published."""
    parser = argparse.ArgumentParser(prog="python -m schemas", description=__doc__)
    parser.add_argument("what", choices=("asyncapi", "jsonschema", "publish"))
    parser.add_argument("--out", type=Path, help="file to write instead of standard output")
    chosen = parser.parse_args(arguments)
    if chosen.what == "publish":
        return _publish()
    _write(asyncapi.document() if chosen.what == "asyncapi" else jsonschema.document(), chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
