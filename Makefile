# `make` lists the targets. Everything is installed in .venv, from requirements.lock.
VENV   := .venv
PYTHON := $(VENV)/bin/python
READY  := $(VENV)/.ready
# uv if there is one, else one of our own: plain pip picks a torch that breaks torchvision.
UV     := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test lint format bench lock clean

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(READY)  ## Install everything into .venv

$(READY): requirements.lock pyproject.toml
	@command -v $(UV) >/dev/null || (python3 -m venv .tools && .tools/bin/pip install --quiet uv)
	@echo "installing into $(VENV) ..."
	@test -x $(PYTHON) || $(UV) venv --quiet --python python3 $(VENV)
	@env -u PYTHONDONTWRITEBYTECODE $(UV) pip sync --quiet --compile-bytecode --python $(PYTHON) requirements.lock
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --editable .
	@touch $@

quickstart: $(READY)  ## Run a real sweep on real data and draw its figures (about a minute)
	@$(VENV)/bin/tombola plan sweeps/quickstart.yaml
	@$(VENV)/bin/tombola run sweeps/quickstart.yaml
	@$(VENV)/bin/tombola figures sweeps/quickstart.yaml

test: $(READY)  ## Run the tests
	@$(PYTHON) -m pytest -n 2 --dist loadfile

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

lock:  ## Resolve the dependencies again
	@command -v $(UV) >/dev/null || (python3 -m venv .tools && .tools/bin/pip install --quiet uv)
	@$(UV) pip compile --quiet --universal --no-emit-index-url --group dev pyproject.toml -o requirements.lock

clean:  ## Remove what was installed and cached (not the store, not the figures)
	@rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
