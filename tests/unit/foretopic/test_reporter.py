"""What a person sees of work in progress, with a terminal and without."""

from __future__ import annotations

import io

from rich.console import Console

from foretopic.reporter import Reporter


def shown(*, is_terminal: bool) -> str:
    output = io.StringIO()
    reporter = Reporter(Console(file=output, width=120, force_terminal=is_terminal))
    with reporter.work("Training market/AAPL-1d") as work:
        for percent in range(101):
            work.update(percent / 100, f"fitting epoch {percent}" if percent < 50 else f"backtest fold {percent}")
    reporter.line("[done] 100%")
    return output.getvalue()


def test_without_a_terminal_a_line_is_written_now_and_then():
    lines = shown(is_terminal=False).splitlines()
    assert lines[0] == "Training market/AAPL-1d: 0% fitting epoch 0"
    assert "Training market/AAPL-1d: 50% backtest fold 50" in lines
    assert lines[-1] == "[done] 100%"
    assert 10 <= len(lines) <= 14


def test_on_a_terminal_one_line_moves():
    text = shown(is_terminal=True)
    assert "\x1b[" in text
    assert "backtest fold 100" in text
    assert "100 %" in text
