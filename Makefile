# Everything runs in a virtual environment that make builds itself: only Python, make and a package
# index are needed. `make` alone lists the targets.

PYTHON ?= python3
# The extras that `make test` installs.
EXTRAS ?= dev,cli,dspy,gemini,local,sb3,train,data,serve,mcp,ray,otel,hub
# Pins of all that is installed; `make test CONSTRAINTS=FILE` tests against others.
CONSTRAINTS ?= constraints.txt
# Processes that run tests.
JOBS ?= 2
# `make test GYMNASIUM=1.2.2` tests against that release, in an environment of its own.
GYMNASIUM ?=
# More arguments for pytest (`make test ARGS="tests/envs -x"`), the benchmarks or the demo.
ARGS ?=

VENV := .venv$(if $(GYMNASIUM),-gymnasium-$(GYMNASIUM))
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint $(VENV)/constraints.txt
# Resolves for every supported Python at once, whichever runs it.
UV_RESOLVE = $(TOOLS)/bin/uv pip compile pyproject.toml --quiet --universal --no-annotate --no-header
UV_COMPILE = $(UV_RESOLVE) $(subst $(comma), --extra ,--extra $(EXTRAS),docs) \
	--python-version 3.10 --constraint $(TOOLS)/torch.txt
TOOLS := .venv-tools
comma := ,
# The extras that bring torch: it goes in first, so that its pinned build is the one that stays.
TORCH_EXTRAS := sb3 train all
NEEDS_TORCH = $(filter $(TORCH_EXTRAS),$(subst $(comma), ,$*))

# Hubs and trackers whose libraries exclude one another. Each has an extra, a file of pins and a
# virtual environment of its own. The numbers are the oldest Python that its library runs on.
HUBS := openenv verifiers nemo skyrl harbor trackers
OLDEST_PYTHON_verifiers := 3.11
OLDEST_PYTHON_nemo := 3.12
OLDEST_PYTHON_harbor := 3.12
OLDEST_PYTHON = $(or $(OLDEST_PYTHON_$*),3.10)
PYTHONS = $(PYTHON) python3.13 python3.12 python3.11 $(wildcard $(HOME)/.pyenv/versions/3.1[123].*/bin/python3)
HUB_PYTHON = $(shell for each in $(PYTHONS); do $$each -c \
	'import sys; sys.exit(sys.version_info < ($(subst .,$(comma),$(OLDEST_PYTHON))))' 2> /dev/null \
	&& echo $$each && break; done)

SGD_ARCHIVE := ../shared/sgd/dstc8-schema-guided-dialogue-master.zip
ifneq ($(wildcard $(SGD_ARCHIVE)),)
export AGENT_GYM_TEST_SGD ?= $(CURDIR)/$(SGD_ARCHIVE)
endif
REAL_LOGS := ../shared/logs
ifneq ($(wildcard $(REAL_LOGS)),)
export AGENT_GYM_TEST_LOGS ?= $(CURDIR)/$(REAL_LOGS)
endif
# Two threads of one small matrix product wait for each other longer than one needs for it.
export OMP_NUM_THREADS := 1
# The tests start some hundred interpreters; where the environment forbids to write byte code, each
# of them compiles the package again.
export PYTHONDONTWRITEBYTECODE :=

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo install test test-latest test-lowest test-long test-hubs constraints lint check docs format bench clean test-browser

help: ## list the targets
	@sed -n -e '/^[a-z-]*%:/s/%/NAME/' -e 's/^\([a-zA-Z-]*\):.*## /  make \1:/p' Makefile | awk -F: '{ printf "%-18s %s\n", $$1, $$2 }'

demo: $(VENV)/.installed-core ## evaluate the offline policies on the embedded corpus
	@$(BIN)/agent-gym demo $(ARGS)

install: $(VENV)/.installed-$(EXTRAS) ## make .venv with what the tests need

test: install ## run the tests
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile $(ARGS)

test-latest: $(TOOLS)/torch.txt ## run the tests with the newest libraries that pyproject.toml allows
	@$(MAKE) test VENV=.venv-latest CONSTRAINTS=$(TOOLS)/torch.txt

test-lowest: $(TOOLS)/.made $(TOOLS)/torch.txt ## run the tests with the oldest libraries that pyproject.toml allows
	@$(UV_COMPILE) --resolution lowest-direct --output-file $(TOOLS)/lowest.txt
	@$(MAKE) test VENV=.venv-lowest CONSTRAINTS=$(TOOLS)/lowest.txt

test-hubs: $(HUBS:%=test-hub-%) ## run the tests of every hub, one after the other

test-hub-%: constraints/%.txt ## run the tests of a hub with its library: openenv, verifiers, nemo, skyrl, harbor or trackers
	@$(if $(HUB_PYTHON),,echo "$* needs Python $(OLDEST_PYTHON) or later; name one: make $@ PYTHON=python$(OLDEST_PYTHON)" >&2; exit 1)
	@$(MAKE) test VENV=.venv-hub-$* CONSTRAINTS=$< EXTRAS=test,serve,$* PYTHON=$(HUB_PYTHON) JOBS=0 \
		ARGS="tests/hubs/$* $(wildcard tests/hubs/test_*.py) $(ARGS)"

constraints/%.txt: | $(TOOLS)/.made
	@mkdir -p $(@D) && $(UV_RESOLVE) --extra test --extra serve --extra $* --python-version $(OLDEST_PYTHON) --upgrade --output-file $@

constraints: $(TOOLS)/.made $(TOOLS)/torch.txt ## pin the newest libraries in constraints.txt, for every supported Python
	@$(UV_COMPILE) --upgrade --output-file constraints.txt
	@rm -f $(HUBS:%=constraints/%.txt) && $(MAKE) $(HUBS:%=constraints/%.txt)

test-long: install ## run the tests with the long reliability tests at their whole size
	@AGENT_GYM_LONG=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist load $(ARGS)

lint: install ## run ruff, mypy and import-linter
	@$(BIN)/python -m ruff check --quiet .
	@$(BIN)/python -m ruff format --check --quiet . || { echo "not formatted; run: make format" >&2; exit 1; }
	@$(BIN)/python -m mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > $(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

check: lint test ## run what continuous integration runs

docs: $(VENV)/.installed-docs ## build the documentation site in out/site; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

format: install ## format the code
	@$(BIN)/python -m ruff check --quiet --fix . ; $(BIN)/python -m ruff format --quiet .

test-browser: install ## the pages in Chromium; with AGENT_GYM_AXE=axe.min.js also axe-core
	@$(BIN)/python -m pip install --quiet "playwright>=1.50,<2"
	@$(BIN)/python -m pytest tests/server/browse/test_browser.py tests/server/test_frontend.py tests/evaluation/test_report.py $(ARGS)

bench: install ## measure every promised speed and size
	@$(BIN)/python -m benchmarks $(if $(AGENT_GYM_TEST_SGD),--corpus "$(AGENT_GYM_TEST_SGD)") $(ARGS)

clean: ## remove all that make has built
	@rm -rf .venv .venv-* build dist *.egg-info out .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The mark is written last: an environment whose making was interrupted is made again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; found = sys.version_info[:2]; sys.exit(None if (3, 10) <= found <= (3, 13) else "Python 3.10 to 3.13 is needed, $(PYTHON) is %d.%d; name another one: make PYTHON=python3.12" % found)'
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(TOOLS)/.made:
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install -qq --disable-pip-version-check uv
	@touch $@

# A resolver left alone takes a build of torch of several gigabytes.
$(TOOLS)/torch.txt: constraints.txt
	@mkdir -p $(TOOLS) && grep '^torch==' constraints.txt > $@

$(VENV)/constraints.txt: $(CONSTRAINTS) | $(VENV)/.made
	@$(if $(GYMNASIUM),{ grep -v '^gymnasium==' $<; echo gymnasium==$(GYMNASIUM); },cat $<) > $@

$(VENV)/.installed-core: pyproject.toml $(VENV)/constraints.txt
	@echo "installing agent-gym-env into $(VENV)"
	@$(PIP_INSTALL) "setuptools>=77"
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/constraints.txt
	@echo "installing agent-gym-env[$*] into $(VENV)"
	@$(if $(NEEDS_TORCH),$(PIP_INSTALL) torch)
	@$(PIP_INSTALL) "setuptools>=77"
	@$(PIP_INSTALL) --no-build-isolation --editable ".[$*]"
	@touch $(VENV)/.installed-core $@
