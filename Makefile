# isograd: `make` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# Real data sets for tests, examples and benchmarks; without them those tests skip, saying so.
ifneq ($(wildcard ../shared/data),)
export ISOGRAD_DATA ?= $(abspath ../shared/data)
endif
PYTEST = $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test check lint types contracts proof bench map format clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18

$(VENV)/python:
	@test -n "$(PYTHON)" || { echo "isograd needs Python 3.11 or newer; name it with: make PYTHON=/path/to/python3 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 2; }
	@touch $@

$(VENV)/workbench: $(VENV)/python pyproject.toml constraints.txt
	@echo "installing isograd and what it needs into $(VENV) (about a minute, once)" >&2
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[workbench]'
	@touch $@

$(VENV)/dev: $(VENV)/workbench
	@echo "installing what the tests need into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/workbench  ## the whole river on a bundled data set: data, training, health, report, bundle, prediction
	@env -u OMP_NUM_THREADS $(BIN)/isograd demo

test: check  ## lint, types, contracts and all tests but the long proofs (under 12 minutes on two cores)
	$(PYTEST) -m "not proof"

check: lint types contracts  ## the quick part: lint, types, contracts

lint: $(VENV)/dev  ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev  ## mypy --strict
	$(BIN)/mypy

contracts: $(VENV)/dev  ## import-linter: an import may only go down
	$(BIN)/lint-imports

proof: $(VENV)/dev  ## the long proofs: real trainings, kills, compiled and two-process runs (under 60 minutes)
	$(PYTEST) -m proof --timeout 1800

bench: $(VENV)/dev  ## every benchmark; results go to benchmarks/results (hours)
	for file in benchmarks/[!_]*.py; do env -u OMP_NUM_THREADS $(BIN)/python $$file || exit 1; done

map: $(VENV)/dev  ## the tree, from the first lines of the modules' docstrings
	@$(BIN)/python tests/house/map.py

format: $(VENV)/dev  ## let ruff format and sort
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what the tools left behind; the virtual environment and runs stay
	rm -rf .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
