# Every target makes .venv when it is missing. Only Python 3.11 or newer is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := hive_daemon hive_cli tests configs

.DEFAULT_GOAL := help
.PHONY: help demo run test test-fast check fmt types bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -e 's/:.*## /\t/' | expand -t 12

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Hive needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(DEV): pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[dev,mcp,otel]'
	@touch $@ $(STAMP)

demo: $(STAMP) ## Start hived, triage a real log, show the report and the figures, stop
	@sh configs/demo.sh $(BIN)

run: $(STAMP) ## Run hived with the quickstart agent in the foreground
	$(BIN)/hived --config configs/quickstart.yaml

# Most tests wait, for a disk or for a process: two of them for each core keep it busy.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

# Tests start hundreds of processes: none of them has to compile what it imports, whatever the environment says.
COMPILED = @$(BIN)/python -m compileall -q hive_daemon hive_cli tests

test: $(DEV) ## Run all tests
	$(COMPILED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

test-fast: $(DEV) ## Run the tests that kill no daemon
	$(COMPILED)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not slow'

check: $(DEV) types ## Check style, layers and types
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/python -m pytest -q tests/architecture

fmt: $(DEV) ## Format everything
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

types: $(DEV) ## Check types
	$(BIN)/mypy

bench: $(DEV) ## Run the benchmarks
	$(BIN)/python -m tests.benchmarks

clean: ## Remove what was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
