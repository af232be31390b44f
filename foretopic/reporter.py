"""What a person sees while waiting: a live line on a terminal, plain lines everywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

#: Without a terminal a line is written each time that so much more is done.
_PLAIN_STEP = 0.1


class Reporter:
    """Prints lines and tables, and shows one piece of work at a time.

    Args:
        console: Where to; its ``is_terminal`` decides on the form.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, renderable: RenderableType) -> None:
        """Print a table or the like."""
        self._console.print(renderable)

    def work(self, title: str) -> Work:
        """Return a piece of work to show, as a context manager."""
        return Work(self._console, title)


class Work:
    """One piece of work with a fraction done and a word on how it goes."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._told = -1.0
        self._said = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._progress.start()
            self._task = self._progress.add_task(self._title, total=1.0, detail="")
        return self

    def update(self, fraction: float, detail: str) -> None:
        """Say how far it is, in [0, 1], and how it goes."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=fraction, detail=detail)
        elif fraction >= self._told + _PLAIN_STEP or (detail.split(" ")[:1] != self._said.split(" ")[:1]):
            self._told, self._said = fraction, detail
            self._console.print(
                f"{self._title}: {fraction:.0%} {detail}", markup=False, highlight=False, soft_wrap=True
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
