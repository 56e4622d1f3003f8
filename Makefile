# Everything a person types. `make help` lists it.
PYTHON ?= python3
USE_CASE ?= flood
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/.peers

# The stack and the tests start many processes; without it each compiles all it imports anew
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo up down status env images test test-containers bench bench-serving screenshots lint format lock clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

install: $(INSTALLED) ## Make .venv from the locked requirements

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Headwater needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make $@ PYTHON=python3.13"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements/dev.txt)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements/dev.txt \
		|| $(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable . \
		|| $(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

demo: install ## Run the main job of USE_CASE (flood) on embedded defaults: source to forecast and drift report
	@$(BIN)/headwater demo '$(USE_CASE)'

up: install ## Start the local stack
	@$(BIN)/headwater up

down: ## Stop the local stack; what it stored stays
	@if [ -x $(BIN)/headwater ]; then $(BIN)/headwater down; fi

status: install ## Show the services of the local stack
	@$(BIN)/headwater status

env: ## Write .env with new passwords for docker compose; USERS="ann:admin ben:op" names Airflow's users
	@$(PYTHON) -m headwater.containers.secrets $(USERS)

images: ## Build the images of the containers
	docker compose build

test: install ## Run all tests but those that need a container engine
	@$(BIN)/python -m pytest -m "not containers" -n 2 --durations 30

test-containers: install ## Build the images, start the stack in containers and use it
	@$(BIN)/python -m pytest -m containers tests/containers --durations 15

bench: $(PEERS) ## Measure beside the limit and the peers; ARGS=--quick takes minutes instead of an hour or two
	@$(BIN)/python -m benchmarks $(ARGS)

bench-serving: install ## Measure the service beside others with the same model and load; ARGS=--quick takes minutes
	@$(BIN)/python -m benchmarks.serving $(ARGS)

screenshots: install ## Take the pictures of the pages again, of a stack of its own; needs Debian's chromium and chromium-driver
	@PYTHONPATH=tests $(BIN)/python -m integration.screenshots $(ARGS)

$(PEERS): requirements/bench.txt $(INSTALLED)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements/bench.txt \
		|| $(BIN)/python -m pip install --quiet --require-hashes -r requirements/bench.txt
	@touch $@

lint: install ## Check style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The development lock comes first and holds for the others, so that what is tested is what is deployed
lock: install ## Compile the locks anew, without index addresses
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
		--upgrade requirements/dev.in -o requirements/dev.txt
	for name in build runtime serving bench; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --generate-hashes \
			-c requirements/dev.txt requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## Stop the stack, delete everything it stored, and .venv
	@if [ -x $(BIN)/headwater ]; then $(BIN)/headwater down --delete; fi
	rm -rf $(VENV)
