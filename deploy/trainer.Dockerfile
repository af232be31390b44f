# The trainer: training requests in, model versions out. The only image with torch.
FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements/build.txt requirements/trainer.txt requirements/
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/foretopic \
    && /opt/tools/bin/uv pip install --no-cache --compile-bytecode --python /opt/foretopic/bin/python --require-hashes -r requirements/trainer.txt
COPY pyproject.toml README.md LICENSE ./
COPY forecasting forecasting
COPY runtime runtime
COPY schemas schemas
COPY trainer trainer
RUN /opt/tools/bin/python -m hatchling build -t wheel -d /build/dist \
    && /opt/tools/bin/uv pip install --no-cache --compile-bytecode --python /opt/foretopic/bin/python --no-deps /build/dist/*.whl

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/foretopic foretopic
COPY --from=build /opt/foretopic /opt/foretopic
# The root is read-only in docker-compose.yml: what libraries cache goes to /tmp.
ENV PATH=/opt/foretopic/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache \
    FORETOPIC_METRICS_HOST=0.0.0.0 \
    FORETOPIC_METRICS_PORT=9100 \
    MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /var/lib/foretopic
USER 10001
EXPOSE 9100
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9100/health', timeout=2)"]
CMD ["python", "-m", "trainer"]
