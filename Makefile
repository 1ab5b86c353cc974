PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO := runs/demo/$(shell date +%Y-%m-%d_%H-%M-%S)
# Seconds after which `make test-slow` starts no further test; empty for no limit.
BUDGET ?=

.PHONY: help demo test test-slow lint docs tutorials bench

help:
	@echo "make demo       search, retrain and evaluate on the embedded digits, in a few minutes"
	@echo "make test       run all tests that are not marked slow"
	@echo "make test-slow  run the slow tests; BUDGET=1800 stops after half an hour"
	@echo "make lint       run ruff, mypy and import-linter"
	@echo "make docs       write the documentation as a site to the folder site"
	@echo "make tutorials  execute the notebooks of the documentation, and store their outputs"
	@echo "make bench      measure a search step against the published implementation"

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

# A test that runs for seven minutes prints where it is.
test-slow: $(READY)
	$(BIN)/python -m pytest -n 2 -m slow -o faulthandler_timeout=420 $(if $(BUDGET),--time-budget $(BUDGET))

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --site-dir site

tutorials: $(READY)
	$(BIN)/python docs/execute.py

bench: $(READY)
	$(BIN)/python experiments/bench_search_step.py
