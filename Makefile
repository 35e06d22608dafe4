# Two commands do it all: `make run` and `make test`. The rest is for those who change the program.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: run test check docs bench soak wheel clean

run: $(VENV)/.installed
	@$(BIN)/llm-trainer web --open --quickstart

test: $(VENV)/.installed-dev
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(VENV)/.installed-dev
	@$(BIN)/python -m docs.write_settings

bench: $(VENV)/.installed-dev
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks

soak: $(VENV)/.installed-dev
	@LLM_TRAINER_REQUIRE_REACH=1 $(BIN)/python -m pytest -m 'soak or faults' --timeout=3600

wheel: $(VENV)/.installed-dev
	@$(PIP) wheel --no-deps --wheel-dir dist .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV) (once; PyTorch is large) ..."
	@$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV) with what the tests need (once; PyTorch is large) ..."
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	@rm -rf $(VENV) build dist artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
