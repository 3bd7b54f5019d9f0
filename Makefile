# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo ui test check kill-test clean

demo: .venv/demo.stamp          ## index the sample pictures and film, and search them
	$(BIN)/python data/demo.py build/demo

ui: demo                        ## the search page over the demo's collection
	$(BIN)/coca-search ui --collection build/demo/collection

test: check                     ## everything CI runs
	$(BIN)/python -m pytest

check: .venv/dev.stamp          ## style, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

kill-test: .venv/dev.stamp      ## SIGKILL the indexer 20 times at random moments
	$(BIN)/python -m pytest -m slow tests/indexer/test_kill.py

clean:
	rm -rf .venv build dist

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[demo]'
	touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	touch $@ .venv/demo.stamp
