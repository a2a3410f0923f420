# Two commands do it all: `make studio` (chat on a page, offline after set-up) and `make test`.
#
# TORCH_INDEX   the package index to take torch from, for example the CPU or a CUDA one; unset = pip's own
# PYTHON        the interpreter to build the environment with (3.11 or newer)
# PORT          where the page listens (8117)

TORCH   := torch==2.13.0
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check
PORT    ?= 8117
PYTHON  ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
WORKERS ?= 2

.PHONY: studio setup test check lint lock clean

studio: setup
	@$(BIN)/loom studio --port $(PORT)

setup: $(VENV)/.ready
	@$(BIN)/python -m tokenloom.native.build
	@$(BIN)/loom pull smollm2

$(VENV)/.ready: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Tokenloom needs Python 3.11 or newer, and none was found." \
	  "Install it (Debian: apt-get install python3.11-venv), or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "The virtual environment could not be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Setting up (a few minutes, once): torch ..."
	@$(PIP) install -q $(TORCH) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) \
	  || { echo "torch could not be installed. Is the network up? Behind a mirror, set TORCH_INDEX=URL."; exit 1; }
	@echo "Setting up: libraries ..."
	@$(PIP) install -q -r requirements.txt \
	  || { echo "The libraries could not be installed. Is the network up? Run the same command again: it resumes."; exit 1; }
	@$(PIP) install -q --no-deps -e .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	@echo "Setting up: what the tests need ..."
	@$(PIP) install -q -r requirements.txt -r requirements-dev.txt
	@touch $@

test: setup $(VENV)/.ready-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not browser and not gpu"

check: setup $(VENV)/.ready-dev lint
	$(BIN)/python -m pytest -n $(WORKERS) -m "not gpu"

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: $(VENV)/.ready-dev
	$(BIN)/python scripts/lock.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
