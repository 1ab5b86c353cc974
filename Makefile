PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO := runs/demo/$(shell date +%Y-%m-%d_%H-%M-%S)

.PHONY: help demo test lint bench

help:
	@echo "make demo   search, retrain and evaluate on the embedded digits, in a few minutes"
	@echo "make test   run the tests (those marked slow are left out: $(BIN)/pytest -m slow)"
	@echo "make lint   ruff and mypy"
	@echo "make bench  measure the search step against the published way of computing it"

$(READY): setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/python -m darts.search hydra.run.dir=$(DEMO)/search
	$(BIN)/python -m darts.genotypes validate=$(DEMO)/search
	$(BIN)/python -m darts.retrain genotype=$(DEMO)/search hydra.run.dir=$(DEMO)/retrain
	$(BIN)/python -m darts.evaluate checkpoint=$(DEMO)/retrain hydra.run.dir=$(DEMO)/evaluate

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python experiments/bench_search_step.py
