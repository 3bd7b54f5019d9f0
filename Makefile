# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
OPEN_CLIP := .venv/open_clip:.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo ui test check parity bench docs kill-test clean

demo: .venv/demo.stamp          ## index the sample pictures and film, and search them
	$(BIN)/python data/demo.py build/demo

ui: demo                        ## open the search page on the demo's collection
	$(BIN)/coca-search ui --collection build/demo/collection

test: check                     ## run everything that CI runs
	$(BIN)/python -m pytest --numprocesses 2 --durations 10

check: .venv/dev.stamp          ## check style, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

parity: .venv/open_clip.stamp   ## compare embeddings, logits and tokens with open_clip, same weights
	PYTHONPATH=$(OPEN_CLIP) $(BIN)/python benchmarks/parity.py

bench: .venv/open_clip.stamp    ## run all benchmarks, and write docs/benchmarks.md
	PYTHONPATH=$(OPEN_CLIP) $(BIN)/python -m benchmarks.run

docs: .venv/dev.stamp           ## update docs/architecture.md and docs/collection.md from the code
	$(BIN)/python docs/make_docs.py

kill-test: .venv/dev.stamp      ## kill the indexer 50 times at random moments, and check the collection
	$(BIN)/python -m pytest -m slow tests/indexer/test_kill.py

clean:                          ## remove everything that was built here
	rm -rf .venv build dist

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[demo]'
	touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	touch $@ .venv/demo.stamp

.venv/open_clip.stamp: .venv/dev.stamp benchmarks/open_clip.txt
	rm -rf .venv/open_clip
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --target .venv/open_clip --requirement benchmarks/open_clip.txt
	touch $@
