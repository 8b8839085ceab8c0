# Two commands on a fresh machine with Python 3.11+, pip and make: `make quickstart`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# A package whose file isn't the one that was locked is refused; what builds ours is locked as well.
LOCKED := --quiet --disable-pip-version-check --require-hashes
OURS := --quiet --disable-pip-version-check --no-deps --no-build-isolation
# The tests whose outcome may depend on the Keras backend.
JAX_TESTS := $(patsubst %,tests/pneumo_core/%.py,test_seeds models/test_backbones models/test_model \
  $(addprefix bundles/test_,bundle evaluate export saliency) \
  $(addprefix training/test_,checkpoint cross_validate ending features held_images precision steps train trial))
# What the benchmarks read: labelled radiographs, and full-size JPEG originals of them.
FOLDER ?= phantom
ORIGINALS ?= $(FOLDER)
SOURCES := pneumo_core spaces studies search benchmarks

.PHONY: help install install-dev quickstart test test-jax test-slow chaos fuzz mutants lint types format check bench bench-all lock audit clean

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(LOCKED) -r requirements.lock
	$(BIN)/python -m pip install $(OURS) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(BIN)/python -m pip install $(LOCKED) -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed ## virtual environment with the pinned packages and the command `pneumo`
install-dev: $(VENV)/.installed-dev ## the same with test tools and all optional packages but the GPU ones

quickstart: install ## set up, then search on generated phantoms: ends with a feasible best trial
	$(BIN)/pneumo launch quickstart

test: install-dev ## the test suite, without tests that take minutes; JOBS=2 processes
	$(BIN)/python -m pytest -q -p tests.cpu -n $(JOBS) --dist loadfile -m "not slow"

test-jax: install-dev ## the model and training tests on the JAX backend
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m "not slow" $(JAX_TESTS)

test-slow: install-dev ## the tests that train for minutes
	$(BIN)/python -m pytest -q -m slow

FAULTS ?= 2200
chaos: install-dev ## random faults, counted by kind (half an hour and more; the same command resumes): FAULTS=2200
	$(BIN)/python -m tests.chaos --faults $(FAULTS)

fuzz: install-dev ## 5,000 damaged image files through the command line
	$(BIN)/python -m tests.fuzz

mutants: install-dev ## small mistakes in the rules of judging, splitting and promoting: how many their tests notice
	$(BIN)/python -m tests.mutants

lint: install-dev
	$(BIN)/ruff check $(SOURCES) tests
	$(BIN)/ruff format --check $(SOURCES) tests

types: install-dev
	$(BIN)/mypy

format: install-dev ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix $(SOURCES) tests
	$(BIN)/ruff format $(SOURCES) tests

check: lint types test test-jax ## format, lint, types and tests on both backends: what CI runs

bench: install-dev ## one search beside KerasTuner and Optuna with `fit`: FOLDER=... (half an hour)
	$(BIN)/python -m benchmarks.search $(FOLDER)

bench-all: ## every benchmark: FOLDER=..., full-size files in ORIGINALS=... (more than an hour)
	@test '$(FOLDER)' != phantom || { echo 'bench-all wants FOLDER=... and ORIGINALS=..., folders of images'; exit 2; }
	$(MAKE) --no-print-directory bench FOLDER=$(FOLDER)
	$(BIN)/python -m benchmarks.training $(FOLDER)
	$(BIN)/python -m benchmarks.training $(FOLDER) --backends --networks 1 --repeats 3
	$(BIN)/python -m benchmarks.precision
	$(BIN)/python -m benchmarks.ingest $(ORIGINALS)
	$(BIN)/python -m benchmarks.overhead $(FOLDER)
	$(BIN)/python -m benchmarks.features $(FOLDER)

# For every system and Python that we run on, with the digests of all files of a version. Versions stay: UPGRADE=--upgrade
# takes newer ones. TensorBoard, which KerasTuner needs, imports pkg_resources: setuptools 81 no longer has it.
UPGRADE ?=
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
  --upgrade-package 'setuptools<81' --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'
RUNTIME_EXTRAS := --extra dicom --extra efficientnet-lite --extra postgresql
DEV_EXTRAS := $(RUNTIME_EXTRAS) $(addprefix --extra ,dashboard dataframe dev jax kaggle mlflow mysql onnx ray tensorboard tflite wandb)

lock: install-dev ## pin the dependencies of pyproject.toml anew
	$(COMPILE) $(RUNTIME_EXTRAS) -o requirements.lock pyproject.toml
	$(COMPILE) $(DEV_EXTRAS) -c requirements.lock -o requirements-dev.lock pyproject.toml

audit: install-dev ## compare the locked packages with public advisories; fails too where no advisories can be reached
	for lock in requirements.lock requirements-dev.lock; do \
	  $(BIN)/uvx pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done

clean: ## remove the virtual environment and the tools' caches (never `runs/`)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info
