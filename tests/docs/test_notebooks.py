"""The notebooks run from the top, anywhere and without a network, and are committed as they were written."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.docs.pages import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PATIENCE_SECONDS = 240
#: Before the first cell: the kernel speaks with us over the loopback address, and nobody with anybody else.
NO_NETWORK = """
import socket
def _connect(self, address, *, connect=socket.socket.connect):
    assert self.family == socket.AF_UNIX or address[0] == "127.0.0.1", f"a connection to {address}"
    return connect(self, address)
socket.socket.connect = _connect
"""


def read(file: Path) -> NotebookNode:
    return nbformat.read(file, as_version=4)


def code_of(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_an_exploration_and_a_training() -> None:
    assert [file.stem for file in NOTEBOOKS] == ["exploration", "training"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebook_is_committed_without_what_it_gave(file: Path) -> None:
    notebook = read(file)

    nbformat.validate(notebook)
    assert [(cell.outputs, cell.execution_count) for cell in code_of(notebook)] == [([], None)] * len(code_of(notebook))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


@pytest.mark.loopback
@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebook_runs_from_the_top_without_error_or_warning(file: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copy(file, tmp_path))
    notebook = read(copied)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(NO_NETWORK))

    NotebookClient(
        notebook,
        timeout=PATIENCE_SECONDS,
        startup_timeout=PATIENCE_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()

    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert list(tmp_path.iterdir()) == [copied]
