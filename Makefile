# funnelgate's commands. `make` prints them; everything is installed into .venv when first needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest -q
DEMO ?= demo-run
# Where the environment forbids byte code, each of the thousands of processes the tests start compiles pandas and us anew:
# 1.6 s instead of 0.6 s. It goes into .venv and __pycache__ folders, which git ignores.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv train-venv demo test test-slow check check-types check-house bench docs format elk-up elk-down clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY) ## make .venv (Python 3.11 or later) with funnelgate, its CPU index library and the tests' tools

# --no-compile: 110 MB of byte code less on the disk, and a quicker install; what is used is compiled when imported.
$(READY): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[cpu,postgres,dev]'
	@touch $@

# torch by its exact version: plain torch would bring gigabytes of CUDA on Linux.
train-venv: $(READY) ## add what training needs (torch for the CPU, onnx) to .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile torch==2.13.0 -e '.[train]'

demo: $(READY) ## run a week of real pictures and one re-run in demo-run/ (DEMO=folder for another one), then break two days' books
	$(BIN)/funnelgate demo $(DEMO) --story
	@echo "funnelgate itself is $(abspath $(BIN))/funnelgate"

test: $(READY) ## the default suite; the tests of the house itself (tests/architecture) are part of `check`
	$(PYTEST) -n 2 --dist loadfile --ignore tests/benches --ignore tests/architecture

# Three at a time on two cores: much of what is slow waits, for a lease to end, a server to start, a process to die.
test-slow: $(READY) ## the tests that take longer: whole pipelines, kills, the wheel, the README's session
	$(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder --ignore tests/benches -m slow

check: $(READY) ## style, types, import contract, and that the generated pages are up to date
	@$(MAKE) --no-print-directory --output-sync=target -j 2 check-types check-house

check-types: $(READY)
	$(BIN)/mypy

check-house: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python docs/generate.py --check
	$(PYTEST) tests/architecture

bench: $(READY) ## measure against bare loops and rival libraries over the same work, and print the table
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[bench]'
	$(PYTEST) tests/benches -m "slow or not slow" -o addopts="--import-mode=importlib --strict-markers" \
	  -p no:cacheprovider -p no:randomly --benchmark-only -s

docs: $(READY) ## write docs/cli.md and docs/settings.md anew from the code
	$(BIN)/python docs/generate.py

format: $(READY) ## bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

elk-up: ## start Elasticsearch, Kibana and Filebeat in Docker, and wait until they are healthy (docs/elk.md)
	@bash elk/up.sh

elk-down: ## stop them; what they have stored is kept
	@bash elk/down.sh

clean: ## remove what can be made again: .venv, the demo, caches
	rm -rf $(VENV) $(DEMO) $(DEMO)-story .mypy_cache .ruff_cache .hypothesis .benchmarks dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
