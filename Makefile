# Everything here makes its own virtual environment. `make help` lists what there is.

VENV ?= .venv
# The first Python from 3.11 that runs; 3.12 and 3.11 first, because a Redis server can be installed from a wheel there.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help demo up test check format bench bench-tokens bench-fleet schema lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python from 3.11 on PATH: install one, or say make PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps -e .
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run ## messages in, tokens run out, messages wait, results out: on a sandbox, about 45 s
	@$(BIN)/tidegate demo

up: $(VENV)/.run ## everything on this machine until Ctrl-C: Redis, nodes, Flower; sandboxes where no key is set
	@$(BIN)/tidegate up

test: $(VENV)/.dev ## all tests but the long ones (TIDEGATE_LONG=1 for those too)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.dev ## lint, format, strict types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## format, and fix what lint can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: bench-tokens bench-fleet ## both benches

bench-tokens: $(VENV)/.dev ## share of the tokens used and 429s, beside what a Celery user would write today
	@$(BIN)/python -m bench.tokens

bench-fleet: $(VENV)/.dev ## messages a second of one node, as a ratio to a plain Celery task
	@$(BIN)/python -m bench.fleet

schema: $(VENV)/.run ## write the JSON Schema of the result document anew
	@$(BIN)/python -c "from workers.documents import schema; print(schema(), end='')" > workers/result.schema.json

lock: $(VENV)/.dev ## resolve the dependencies anew into both lock files
	@$(PIP) install uv
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.lock

clean: ## remove the virtual environment and all caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info .tidegate
