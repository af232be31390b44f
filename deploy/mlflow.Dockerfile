# MLflow, for people: runs, parameters, metrics and plots. No service needs it to forecast.
FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements/build.txt requirements/mlflow.txt requirements/
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/foretopic \
    && /opt/tools/bin/uv pip install --no-cache --compile-bytecode --python /opt/foretopic/bin/python --require-hashes -r requirements/mlflow.txt

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/foretopic foretopic \
    && install -d -o 10001 -g 10001 /var/lib/foretopic/mlflow
COPY --from=build /opt/foretopic /opt/foretopic
# The root is read-only in docker-compose.yml: what libraries cache goes to /tmp.
ENV PATH=/opt/foretopic/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache \
    HOME=/tmp \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true
WORKDIR /var/lib/foretopic
USER 10001
EXPOSE 5001
HEALTHCHECK --interval=10s --timeout=3s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5001/health', timeout=2)"]
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5001", "--workers", "1", \
     "--backend-store-uri", "sqlite:////var/lib/foretopic/mlflow/mlflow.db", \
     "--artifacts-destination", "/var/lib/foretopic/mlflow/artifacts", \
     "--allowed-hosts", "mlflow:5001,localhost:*,127.0.0.1:*"]
