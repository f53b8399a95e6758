# `make` lists the targets. Everything is installed in .venv, from requirements.lock.
PYTHON3 ?= python3
VENV    := .venv
PYTHON  := $(VENV)/bin/python
READY   := $(VENV)/.ready
# uv if there is one, else one of our own: plain pip may pick a torch that breaks torchvision.
UV      := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)

# What `make test-fast` runs: under a minute on two cores.
FAST := tests/golden tests/property tests/orchestrator/planning tests/orchestrator/scheduling \
    tests/orchestrator/sweep/test_schema.py tests/orchestrator/sweep/test_json_schema.py \
    tests/tasks/pruning/test_scores.py tests/tasks/values/test_catalog.py tests/analysis/selection \
    tests/tombola/store/test_compare.py tests/tombola/test_rounding.py \
    tests/docs/test_language.py tests/docs/test_reference.py

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-fast test-slow baseline docs lint format bench device-check lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s%s\n", $$1, $$2}' Makefile

setup: $(READY)  ## Install everything into .venv

$(READY): requirements.lock pyproject.toml | $(filter .tools/%,$(UV))
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tombola needs Python 3.11 or newer, and $(PYTHON3) is " + sys.version.split()[0] + "; name another: make PYTHON3=python3.12")'
	@echo "installing into $(VENV) ..."
	@test -x $(PYTHON) || $(UV) venv --quiet --python $(PYTHON3) $(VENV)
	@env -u PYTHONDONTWRITEBYTECODE $(UV) pip sync --quiet --compile-bytecode --python $(PYTHON) requirements.lock
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --editable .
	@touch $@

.tools/bin/uv:
	@echo "fetching uv into .tools ..."
	@$(PYTHON3) -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check uv

quickstart: $(READY)  ## Run a real sweep on real data, draw its figures, write its report (a minute and a half)
	@$(VENV)/bin/tombola plan sweeps/quickstart.yaml
	@$(VENV)/bin/tombola run sweeps/quickstart.yaml
	@$(VENV)/bin/tombola figures sweeps/quickstart.yaml
	@$(VENV)/bin/tombola report sweeps/quickstart.yaml

test: $(READY)  ## Run the tests
	@$(PYTHON) -m pytest -n 2 --dist loadfile -m "not slow"

test-fast: $(READY)  ## Run the tests that take a minute together, before a commit
	@$(PYTHON) -m pytest -n 2 --dist loadfile -m "not slow" $(FAST)

test-slow: $(READY)  ## Run the slow tests: real clusters and servers, and processes that are killed
	@$(PYTHON) -m pytest -n 2 --dist loadfile -m slow

baseline: $(READY)  ## Draw the pictures that figures are compared with anew (look at them)
	@rm -rf tests/analysis/figures/baseline
	@$(PYTHON) -m pytest tests/analysis/figures/test_images.py --mpl-generate-path=tests/analysis/figures/baseline

docs: $(READY)  ## Build the documentation into site/ (open site/index.html; its search needs a server)
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

lint: $(READY)  ## Format check, lint, strict types, import contracts
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

format: $(READY)  ## Format the code and fix what can be fixed
	@$(VENV)/bin/ruff format --quiet .
	@$(VENV)/bin/ruff check --fix .

bench: $(READY)  ## Run the benchmarks
	@for file in tests/benchmarks/bench_*.py; do $(PYTHON) $$file || exit 1; done

device-check: $(READY)  ## On a machine with a GPU: are a run's bits its own there, and how fast are lanes?
	@$(PYTHON) tests/device/check.py

lock: | $(filter .tools/%,$(UV))  ## Resolve the dependencies again
	@$(UV) pip compile --quiet --universal --no-emit-index-url --group dev --extra explore pyproject.toml -o requirements.lock

clean:  ## Remove what was installed and cached (not the store, not the figures)
	@rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
