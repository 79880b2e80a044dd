PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo notebooks test torch fuzz lint beam serving docs

# fits W, trains three decoders on the built-in data, exports, draws: training/runs/demo/
# (one inter-op thread: the order in which gradients are added does not hang on timing)
demo: $(VENV)/installed
	TF_NUM_INTEROP_THREADS=1 $(BIN)/python -m training.demo

# runs training/notebooks/ and stores what they give
notebooks: $(VENV)/installed
	$(BIN)/python -m training.notebooks.run

test: $(VENV)/installed
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --durations 10
	KERAS_BACKEND=jax JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal \
	    -m "not slow" tests/test_packed_loss.py tests/test_region_loss.py tests/test_losses.py tests/test_layers.py \
	    tests/test_models.py tests/test_decoders.py tests/test_inference.py tests/projection/test_compression.py \
	    tests/export/test_folding.py tests/test_jax_depthwise.py tests/test_jax_head.py \
	    tests/test_jax_step.py

# on PyTorch, which `dev` leaves out: from the package index it brings gigabytes for GPUs
torch: $(VENV)/installed-torch
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
	    -m "not slow" tests/test_torch.py tests/test_decoders.py tests/test_models.py tests/test_inference.py \
	    tests/test_packed_loss.py tests/test_region_loss.py tests/test_losses.py tests/test_layers.py \
	    tests/projection/test_compression.py tests/projection/test_autoencoder.py tests/export/test_folding.py \
	    tests/training/test_compile.py \
	    --deselect tests/projection/test_autoencoder.py::test_a_descent_that_diverges_says_so

# mutated files and tables at random, new ones each time; what is found becomes a case of a test
FUZZ_INPUTS ?= 100000
fuzz: $(VENV)/installed
	FUZZ_INPUTS=$(FUZZ_INPUTS) $(BIN)/python -m pytest tests/fuzz --numprocesses 0 -W ignore

# Apache Beam pins older packages than constraints.txt does: an environment of its own
beam: $(VENV)-beam/installed
	$(VENV)-beam/bin/python -m pytest tests/projection/test_beam.py tests/test_beam_inference.py \
	    tests/pages/test_snippets.py -k "not snippets or beam.md"

# SavedModels in the TensorFlow before ours, which TensorFlow Serving has for a while: its own environment
serving: $(VENV)/installed $(VENV)-serving/installed
	$(BIN)/python -m pytest --numprocesses 0 tests/export/test_older_tensorflow.py

# the documentation, to build/site/; a broken link is an error; browser.md needs npm, and says so without it
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m mkdocs build --strict

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(VENV)/installed-torch: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[torch]'
	touch $@

$(VENV)-beam/installed: setup.cfg
	$(PYTHON) -m venv $(VENV)-beam
	$(VENV)-beam/bin/python -m pip install --quiet --editable '.[beam,tensorflow]' pytest
	touch $@

$(VENV)-serving/installed:
	$(PYTHON) -m venv $(VENV)-serving
	$(VENV)-serving/bin/python -m pip install --quiet 'tensorflow==2.20.*' 'tensorflow-serving-api==2.20.*'
	touch $@
