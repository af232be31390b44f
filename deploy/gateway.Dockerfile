# The gateway: the HTTP API and the first page.
FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements/build.txt requirements/gateway.txt requirements/
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/foretopic \
    && /opt/tools/bin/uv pip install --no-cache --compile-bytecode --python /opt/foretopic/bin/python --require-hashes -r requirements/gateway.txt
COPY pyproject.toml README.md LICENSE ./
# For `python -m foretopic.cli_admin`.
COPY foretopic foretopic
COPY gateway gateway
COPY runtime runtime
COPY schemas schemas
RUN /opt/tools/bin/python -m hatchling build -t wheel -d /build/dist \
    && /opt/tools/bin/uv pip install --no-cache --compile-bytecode --python /opt/foretopic/bin/python --no-deps /build/dist/*.whl

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/foretopic foretopic \
    && install -d -o 10001 -g 10001 /var/lib/foretopic/data /var/lib/foretopic/files /var/lib/foretopic/first-start
COPY --from=build /opt/foretopic /opt/foretopic
# The root is read-only in docker-compose.yml: what libraries cache goes to /tmp.
ENV PATH=/opt/foretopic/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache \
    FORETOPIC_HOME=/var/lib/foretopic/data \
    FORETOPIC_GATEWAY_FILES_DIRECTORY=/var/lib/foretopic/files \
    FORETOPIC_GATEWAY_HOST=0.0.0.0 \
    FORETOPIC_GATEWAY_PORT=5000
WORKDIR /var/lib/foretopic
USER 10001
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5000/health', timeout=2)"]
CMD ["python", "-m", "gateway"]
