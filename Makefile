# `make run`, `make test`, `make dist` and others each do everything on a fresh machine. `make test MARKED=` runs all tests.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test test-fast lint docs dist install clean

run: $(VENV)/run
	$(BIN)/python -m evoprune run problems/gpt2_mini.yaml

# Processes of one thread each, as threads of several would slow each other down; three for two cores, as some tests wait.
# Files in their order, as those that wait the longest come early then: reordered, they come last.
CORES = $(shell $(PYTHON) -c "import os; print(os.cpu_count())")
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $$(( ($(CORES) * 3 + 1) / 2 )) --dist loadfile --no-loadscope-reorder

MARKED = not ci
test: $(VENV)/test
	$(PYTEST) -m "$(MARKED)"

test-fast: $(VENV)/test
	$(PYTEST) -m "not slow"

lint: $(VENV)/test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/test
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

dist: $(VENV)/test
	$(BIN)/python -m build --wheel

# Of tens of thousands of files few are imported, which compiles these alone.
install: $(VENV)/run

$(VENV)/run: setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --editable '.[gguf,recover]'
	touch $@

$(VENV)/test: setup.cfg
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --editable '.[dev,docs,gguf,recover,dask,tensorboard,wandb,mlflow]'
	touch $@

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info
