# Every target makes the virtual environment it needs; nothing else has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two test workers, one thread each: small models gain nothing from more, and oversubscription costs a factor.
WORKERS ?= 2

.PHONY: demo test test-all test-lowest check style cards bench clean

demo: $(STAMP)
	$(BIN)/hf-unlearn demo

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

# Everything: the slow sweeps too, and hypothesis looks where it has not looked before.
test-all: check
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "" $(PYTEST_ARGS)

# The oldest versions that pyproject.toml admits, together. torch comes with its CUDA libraries: several GB.
LOWEST := .venv-lowest
LOWEST_TESTS ?= tests/functional tests/data tests/inference/test_sampling.py tests/inference/test_scoring.py \
	tests/inference/test_features.py tests/training/test_callback.py tests/training/test_tracker.py tests/metrics tests/test_cli.py \
	tests/test_public_names.py
test-lowest:
	test -x $(LOWEST)/bin/uv || { $(PYTHON) -m venv $(LOWEST) && $(LOWEST)/bin/python -m pip install --quiet uv; }
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable . \
		"hypothesis>=6.100" "pytest>=8.3" "pytest-timeout>=2.3" "rouge-score>=0.1.2" "setuptools>=77" "tensorboard>=2.20" "trl>=1.0"
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest $(LOWEST_TESTS) $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

style: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What lies under metrics/ is written from hf_unlearn/modules.
cards: $(STAMP)
	$(BIN)/python -m hf_unlearn.modules metrics

bench: $(STAMP)
	for script in tests/benchmarks/*.py; do echo "== $$script" && $(BIN)/python $$script || exit 1; done

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
