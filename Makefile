PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SAMPLE := tests/data/people_cc_by.mp4

.PHONY: help run test test-all lint bench clean

help:
	@echo "make run       install and box people in the sample clip"
	@echo "make test      install with the developers' tools, check the code, run the tests"
	@echo "make test-all  the same with the tests that take minutes"
	@echo "make bench     measure speed and memory"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@$(BIN)/python -c "import cv2" 2>/dev/null || { echo "OpenCV lacks a system library: run scripts/debian-packages.sh"; exit 1; }
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	@$(BIN)/python -c "import cv2" 2>/dev/null || { echo "OpenCV lacks a system library: run scripts/debian-packages.sh"; exit 1; }
	@touch $@ $(VENV)/.run

run: $(VENV)/.run
	$(BIN)/foveate detect $(SAMPLE) --track -o foveate-out

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n 2 -m "not slow and not gpu"

test-all: lint
	$(BIN)/pytest -n 2 -m "not gpu"

bench: $(VENV)/.run
	$(BIN)/foveate bench biformer
	$(BIN)/foveate bench video

clean:
	rm -rf $(VENV) foveate-out dist .pytest_cache .mypy_cache .ruff_cache
