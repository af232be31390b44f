# `make up` sets up and runs everything; `make test` sets up and passes every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := schemas forecasting runtime ingestor trainer predictor gateway foretopic
LOCKS := ingestor trainer predictor gateway mlflow client stack dev bench
.DEFAULT_GOAL := help

.PHONY: help up down demo notebooks test test-unit test-postgres check format bench bench-accuracy docs lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

# One stamp a lock file: what is installed follows what is pinned.
$(VENV)/.installed-%: requirements/build.txt requirements/%.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Foretopic needs Python 3.11 or newer, found %s; name another with make PYTHON=python3.12" % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements/$*.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

up: $(VENV)/.installed-stack ## Install, start Kafka and all services, train, forecast (stays in the foreground)
	$(BIN)/foretopic up

down: $(VENV)/.installed-stack ## Stop a stack that runs in the background
	$(BIN)/foretopic down

demo: $(VENV)/.installed-stack ## Run the whole loop once in one process: load, train, ask, forecast
	$(BIN)/python examples/memory_loop.py

# JupyterLab lies over the environment, in one of its own that uv fetches.
notebooks: $(VENV)/.installed-stack ## Open the notebooks in a browser
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv run --no-project --with jupyterlab jupyter lab notebooks

# What needs a broker, a browser, a database or patience mostly waits: two at a time, however many cores there are.
HEAVY := kafka or e2e or chromium or postgres or slow

# What leans on its database most; `make test-postgres` takes all of the gateway's tests.
ON_POSTGRES := accounts audit batches dead_letters events limits projects quotas tenancy webhooks
ON_POSTGRES_PATHS := $(ON_POSTGRES:%=tests/unit/gateway/test_%.py)

# The official AsyncAPI parser, where npm is: without it its test says why it skips.
NODE_TOOLS := tests/node/node_modules/.package-lock.json
$(NODE_TOOLS): tests/node/package-lock.json
	@command -v npm >/dev/null && npm ci --prefix tests/node --silent || echo "AsyncAPI is not checked by its parser: npm ci failed"

test: $(VENV)/.installed-dev $(NODE_TOOLS) ## Install and run every test that needs no Docker engine
	$(BIN)/pytest -n auto --dist loadfile
	$(BIN)/pytest -n 2 --dist loadfile -m "$(HEAVY)"
	$(BIN)/pytest -n auto --dist loadfile --database postgresql $(ON_POSTGRES_PATHS)

test-unit: $(VENV)/.installed-dev ## Run the quick tests that need no broker, browser or database
	$(BIN)/pytest

test-postgres: $(VENV)/.installed-dev ## Run every test of the gateway on PostgreSQL
	$(BIN)/pytest -n auto --dist loadfile --database postgresql tests/unit/gateway tests/unit/gateway_pages

bench: $(VENV)/.installed-bench ## Measure a whole stack beside FastAPI with torch and with ONNX Runtime, how data come in, and the history
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.history

bench-accuracy: $(VENV)/.installed-bench ## Measure accuracy on known sets beside targets and the naive forecast (needs ../shared/data)
	$(BIN)/python -m benchmarks.accuracy

check: $(VENV)/.installed-dev ## Format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-stack ## Make the tables of the documentation anew from the code
	$(BIN)/python -m foretopic.doc_tables
	$(BIN)/python -m foretopic.settings_table

lock: $(VENV)/.installed-dev ## Pin the dependencies anew, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade requirements/build.in -o requirements/build.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade --extra bench pyproject.toml -o requirements/bench.txt
	for extra in $(filter-out bench,$(LOCKS)); do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --constraint requirements/bench.txt --extra $$extra pyproject.toml -o requirements/$$extra.txt || exit 1; \
	done

clean: ## Remove the virtual environment
	rm -rf $(VENV)
