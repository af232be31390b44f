"""MLflow's server in one process: ``python -m foretopic.mlflow_server --home HOME --port PORT``.

The command ``mlflow server`` keeps itself and a job runner with seven workers beside the server, which we do not use:
about 1 GB resident together on the machine this was measured on, 240 MB this way.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import click

from foretopic.ports import LOOPBACK

#: Read by MLflow at import.
_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


@click.command()
@click.option("--home", type=click.Path(path_type=Path), required=True, help="Where runs and artefacts are kept.")
@click.option("--port", type=int, required=True, help="Port to listen on.")
def main(home: Path, port: int) -> None:
    """Serve MLflow on the loopback address until a signal says stop."""
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(_ENVIRONMENT)
    # MLflow warns of its own libraries; nobody here can act on it.
    warnings.simplefilter("ignore")
    import uvicorn  # noqa: PLC0415  # MLflow costs seconds and most of the memory
    from mlflow.server import constants  # noqa: PLC0415
    from mlflow.server.handlers import initialize_backend_stores  # noqa: PLC0415

    store = f"sqlite:///{home.absolute() / 'mlflow.db'}"
    artefacts_root = "mlflow-artifacts:/"
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = artefacts_root
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = str(home.absolute() / "artefacts")
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    initialize_backend_stores(store, store, artefacts_root)
    from mlflow.server.fastapi_app import app  # noqa: PLC0415  # reads the variables set above

    uvicorn.run(app, host=LOOPBACK, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    sys.exit(main())
