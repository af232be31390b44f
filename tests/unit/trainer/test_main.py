"""The entry point: settings are read once, and what is wrong with them is told."""

from __future__ import annotations

import pytest

from runtime.process import EXIT_SETTINGS
from trainer.__main__ import main


def test_settings_that_cannot_be_used_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORETOPIC_TRAINER_PARALLEL_TRAININGS", "0")
    monkeypatch.setenv("FORETOPIC_TRAINER_MLFLOW_URI", "http://127.0.0.1:5001")

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == EXIT_SETTINGS
    told = capsys.readouterr().err
    assert "FORETOPIC_TRAINER_PARALLEL_TRAININGS was '0'" in told
    assert "FORETOPIC_TRAINER_MLFLOW_URI is not known" in told
