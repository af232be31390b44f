"""The tables of variables in docs/operations.md, made from the settings: ``python -m foretopic.settings_table``.

Writes the tables into the page, between the two markers; a test fails when the page and the settings differ.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic_core import PydanticUndefined

from foretopic.first_start import FirstStartSettings
from foretopic.stack_settings import StackSettings
from gateway.settings import GatewaySettings
from ingestor.settings import IngestorSettings
from predictor.settings import PredictorSettings
from runtime.create_topics import TopicsSettings
from runtime.settings import ServiceSettings, variable_of
from trainer.settings import TrainerSettings

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"
BEGIN = "<!-- settings: made by python -m foretopic.settings_table -->\n"
END = "<!-- end of settings -->\n"
_TABLES: tuple[tuple[str, type[ServiceSettings]], ...] = (
    ("Every service", ServiceSettings),
    ("Gateway", GatewaySettings),
    ("Ingestor", IngestorSettings),
    ("Trainer", TrainerSettings),
    ("Predictor", PredictorSettings),
    ("`foretopic` on one machine", StackSettings),
    ("`python -m runtime.create_topics` (in Compose: `topics`)", TopicsSettings),
    ("`python -m foretopic.first_start` (in Compose: `first-run`)", FirstStartSettings),
)


def _table(title: str, settings: type[ServiceSettings]) -> str:
    shared = set() if settings is ServiceSettings else set(ServiceSettings.model_fields)
    lines = [f"**{title}**\n", "| variable | default | meaning |", "|---|---|---|"]
    for name, field in settings.model_fields.items():
        if name not in shared:
            shown = "" if field.default in (PydanticUndefined, None, "") else f"`{field.default}`"
            meaning = (field.description or "").replace("|", "\\|")
            lines.append(f"| `{variable_of(settings, name)}` | {shown} | {meaning} |")
    return "\n".join(lines) + "\n"


def with_tables(page: str) -> str:
    """Return the page with the tables as they are now.

    Raises:
        ValueError: The page lacks one of the two markers.
    """
    if BEGIN not in page or END not in page:
        raise ValueError(f"{PAGE} must have the lines {BEGIN.strip()!r} and {END.strip()!r}")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    tables = "\n".join(_table(title, settings) for title, settings in _TABLES)
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def main() -> int:
    """Bring the page up to date."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
