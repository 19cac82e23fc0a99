# The project's commands; `make` alone lists them. Another interpreter: make demo PYTHON=python3.12
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
NATIVE := $(shell find csrc -name '*.cpp' -o -name '*.cu' -o -name '*.h')
FORMATTED := $(NATIVE) $(wildcard tests/native/*.cpp tests/native/*.h)

# The extension is built with the pinned ninja, whether or not the environment is activated.
export PATH := $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test bench docs lint format clean
.SECONDARY:
.NOTPARALLEL:

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s%s\n", $$1, $$2}' Makefile

demo: $(VENV)/run.stamp $(VENV)/spikeconv.stamp ## Train, convert and measure a small network on the handwritten digits
	$(BIN)/spikeconv demo

test: $(VENV)/test.stamp $(VENV)/spikeconv.stamp ## Run every test and every example of the docstrings
	$(BIN)/python -m pytest

bench: $(VENV)/bench.stamp $(VENV)/spikeconv.stamp ## Time the neuron and whole networks beside torch and SpikingJelly
	$(BIN)/python bench/kernels.py
	$(BIN)/python bench/throughput.py --T 16

docs: $(VENV)/docs.stamp ## Build the documentation, site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(VENV)/dev.stamp $(VENV)/spikeconv.stamp ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	MYPYPATH=bench $(BIN)/mypy bench  # apart: bench/kernels.py has the name of the folder kernels/
	$(BIN)/clang-format --dry-run -Werror $(FORMATTED)

format: $(VENV)/dev.stamp ## Rewrite the sources in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(FORMATTED)

clean: ## Remove the environment and everything built
	rm -rf $(VENV) build dist site spikeconv.egg-info spikeconv/*.so
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# A stamp is younger than all that its step read, so a second make only runs the command itself.
$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	    sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13) and \
	        f"the pinned packages are for Python 3.10 to 3.13, got {v}: make {sys.argv[1]} PYTHON=...")' \
	    "$(or $(MAKECMDGOALS),demo)"
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/%.stamp: requirements/%.txt requirements/run.txt requirements/constraints.txt $(VENV)/python.stamp
	@echo 'Installing $<: with torch, 5 GB and a minute or two.'
	$(PIP) install -r $<
	@touch $@

$(VENV)/docs.stamp: requirements/docs.txt requirements/constraints.txt $(VENV)/python.stamp
	$(PIP) install -r $<
	@touch $@

$(VENV)/spikeconv.stamp: setup.py pyproject.toml $(NATIVE) $(VENV)/run.stamp
	@echo 'Building the extension: about a minute.'
	$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@
