# Roadslim. `make demo` shows everything, `make test` proves it; both set up .venv by themselves.
# Another Python: make PYTHON=python3.12 setup

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STARTED := $(shell date +%s)

.PHONY: help setup demo study test test-all test-board check clean

help:
	@echo "make setup       .venv with everything that Roadslim needs"
	@echo "make demo        from synthetic road scenes to the summary table, some ten minutes"
	@echo "make study       how small at what loss: YOLOv3 at quarter width, up to three hours; goes on where it was"
	@echo "make test        the tests, without the slow ones and those that need a board-like machine"
	@echo "make test-all    the slow ones too"
	@echo "make test-board  those that need a board-like machine (openssh-server)"
	@echo "make check       format, lint, types, import rules, board_app alone"
	@echo "make clean       remove .venv and caches; runs/ and data/ stay"

setup: $(READY)

$(READY): pyproject.toml constraints.txt scripts/setup
	@scripts/setup "$(PYTHON)" "$(VENV)"
	@touch $(READY)

demo: $(READY)
	@scripts/demo "$(BIN)" "$(STARTED)"

study: $(READY)
	@scripts/study "$(BIN)"

test: $(READY)
	$(BIN)/pytest -m "not slow and not board"

test-all: $(READY)
	$(BIN)/pytest -m "not board"

test-board: $(READY)
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin" command -v sshd > /dev/null || \
		{ echo "make test-board needs an SSH server to log in to: apt install openssh-server" >&2; exit 1; }
	$(BIN)/pytest -m board

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/board_app/test_board_floor.py tests/board_app/test_app_on_stand_ins.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
