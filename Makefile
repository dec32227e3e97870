# Two commands for a fresh clone: `make demo` and `make test`. Both set up .venv first.

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

setup: .venv/.ready ## a virtual environment in .venv with the tested versions

# torch comes first and from the constraints: a later package asking for it then finds it there.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Dyna-AIL needs Python 3.11 or newer; this is " \
	  + sys.version.split()[0] + ". Name another: make PYTHON=/path/to/python3.11 ...")'
	@echo "setting up .venv (a few minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(PIP) torch setuptools
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

demo: .venv/.ready ## train on Hopper-v5 from 4 bundled demonstrations, draw the learning curve
	@$(BIN)/dyna-ail train

lint: .venv/.ready ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## lint, then every test
	$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal

test-fast: .venv/.ready ## the tests that take seconds, without lint
	$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal -m 'not slow'

clean: ## remove .venv and caches; runs in results/ stay
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
