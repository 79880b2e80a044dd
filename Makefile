PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint

# fits W, trains both decoders on the built-in data, exports, draws: training/runs/demo/
demo: $(VENV)/installed
	$(BIN)/python -m training.demo

test: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses 2
	KERAS_BACKEND=jax $(BIN)/python -m pytest tests/test_layers.py tests/test_models.py -m "not slow"

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
