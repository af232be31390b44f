# What asks a gateway for its first forecast, and ends.
FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements/build.txt requirements/client.txt requirements/
RUN python -m venv /opt/tools \
    && /opt/tools/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/foretopic \
    && /opt/tools/bin/uv pip install --no-cache --compile-bytecode --python /opt/foretopic/bin/python --require-hashes -r requirements/client.txt
COPY pyproject.toml README.md LICENSE ./
COPY foretopic foretopic
COPY runtime runtime
COPY schemas schemas
RUN /opt/tools/bin/python -m hatchling build -t wheel -d /build/dist \
    && /opt/tools/bin/uv pip install --no-cache --compile-bytecode --python /opt/foretopic/bin/python --no-deps /build/dist/*.whl

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/foretopic foretopic
COPY --from=build /opt/foretopic /opt/foretopic
# The root is read-only in docker-compose.yml: what libraries cache goes to /tmp.
ENV PATH=/opt/foretopic/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache
WORKDIR /var/lib/foretopic
USER 10001
CMD ["python", "-m", "foretopic.first_start"]
