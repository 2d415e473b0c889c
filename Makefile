# Everything runs in .venv; requirements are installed again only when they change.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help train test test-all faults lint benchmark gpu-check clean
VENV := .venv
# the first Python that is new enough; or say: make PYTHON=/path/to/python train
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
WORKERS ?= 2
CUDA ?= cuda13
# alone: it asks for an older Orbax, of which it imports nothing
JAX2ONNX := jax2onnx==0.17.1
ARGS ?=

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: $(VENV)/run.stamp  ## train both stages on the embedded data, scan to catalog, in runs/s2c (ARGS=... adds flags)
	$(VENV)/bin/python launch/train.py --config configs/embedded.py:s2c --workdir runs/s2c $(ARGS)

test: $(VENV)/test.stamp  ## run the tests with WORKERS=2 processes (ARGS="-k skewness" picks some)
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-all: override ARGS += -m "exhaustive or not exhaustive"
test-all: test  ## run all of them, the exhaustive ones too: before a release, or after a change of many parts

faults: $(VENV)/test.stamp  ## kill, damage and fill up a tiny training, over and over, in runs/faults (ARGS="--kills 10")
	$(VENV)/bin/python -m tests.faults $(ARGS)

lint: $(VENV)/test.stamp  ## check style (ruff) and types (pyright)
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

benchmark: $(VENV)/reference.stamp  ## our step beside PyTorch's, in runs/benchmark (ARGS=... adds flags)
	$(VENV)/bin/python launch/benchmark.py $(ARGS)

gpu-check: $(VENV)/reference.stamp  ## on a GPU: agreement with the CPU, benchmark, training, memory, in runs/gpu_check
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --upgrade "jax[$(CUDA)]<0.13"
	$(VENV)/bin/python launch/gpu_check.py $(ARGS)

clean:  ## remove the environment and all caches; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and not found: install it, or say where: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is %d.%d: make PYTHON=/path/to/python" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }

$(VENV)/run.stamp: pyproject.toml requirements.txt | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable . && touch $@

$(VENV)/test.stamp: pyproject.toml requirements.txt | $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[test]'
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps $(JAX2ONNX) && touch $@ $(VENV)/run.stamp

$(VENV)/reference.stamp: $(VENV)/test.stamp
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[test,reference]' && touch $@
