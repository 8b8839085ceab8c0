# Two commands on a fresh machine with Python 3.11+, pip and make: `make quickstart`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# A package whose file isn't the one that was locked is refused.
HASHED := $(if $(shell grep -m1 -e '--hash=' requirements.lock),--require-hashes)
# The tests whose outcome may depend on the Keras backend.
JAX_TESTS := $(patsubst %,tests/pneumo_core/%.py,test_seeds models/test_backbones models/test_model \
  $(addprefix bundles/test_,bundle evaluate export saliency) \
  $(addprefix training/test_,checkpoint cross_validate features held_images precision steps train trial))
# What the benchmarks read: labelled radiographs, and full-size JPEG originals of them.
FOLDER ?= phantom
ORIGINALS ?= $(FOLDER)
SOURCES := pneumo_core spaces studies search benchmarks

.PHONY: help install install-dev quickstart test test-jax test-slow chaos fuzz lint types format check bench bench-all lock clean

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(HASHED) -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(HASHED) -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed ## virtual environment with the pinned packages and the command `pneumo`
install-dev: $(VENV)/.installed-dev ## the same with test tools and all optional packages but the GPU ones

quickstart: install ## set up, then search on generated phantoms: ends with a feasible best trial
	$(BIN)/pneumo launch quickstart

test: install-dev ## the test suite, but for what takes minutes; JOBS=2 processes
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m "not slow and not chaos"

test-jax: install-dev ## the model and training tests on the JAX backend
	KERAS_BACKEND=jax $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m "not slow and not chaos" $(JAX_TESTS)

test-slow: install-dev ## the tests that train for minutes
	$(BIN)/python -m pytest -q -m slow

chaos: install-dev ## some 2,400 random faults, counted by kind (an hour and more); CHAOS_SHARE=0.1: a tenth
	$(BIN)/python -m pytest -q -s -m chaos tests/search

fuzz: install-dev ## 5,000 damaged image files through the command line
	$(BIN)/python -m tests.fuzz

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

# TensorBoard, which KerasTuner needs, imports pkg_resources: setuptools 81 no longer has it.
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
  --no-emit-find-links --upgrade-package 'setuptools<81'
RUNTIME_EXTRAS := --extra dicom --extra efficientnet-lite --extra postgresql
DEV_EXTRAS := $(RUNTIME_EXTRAS) $(addprefix --extra ,dashboard dataframe dev jax kaggle mlflow mysql onnx ray tensorboard tflite wandb)

lock: install-dev ## pin the dependencies of pyproject.toml anew
	$(COMPILE) $(RUNTIME_EXTRAS) -o requirements.lock pyproject.toml
	$(COMPILE) $(DEV_EXTRAS) -c requirements.lock -o requirements-dev.lock pyproject.toml

clean: ## remove the virtual environment and the tools' caches (never `runs/`)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info
