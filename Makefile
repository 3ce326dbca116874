# Two commands do everything: `make quickstart` and `make test`. Both build .venv from pyproject.toml first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-cpu

.PHONY: quickstart test lint setup setup-gpu clean

setup: $(STAMP)

$(STAMP): pyproject.toml docker/install_cpu.sh docker/steps.sh docker/constraints-cpu.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else "rlvr needs Python 3.11 or 3.12, this is %d.%d: make PYTHON=python3.11 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)
	bash docker/install_cpu.sh $(BIN)/python
	touch $(STAMP)

quickstart: $(STAMP)
	$(BIN)/python -m rlvr.train recipe=dapo_divweight

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/shellcheck --external-sources docker/*.sh benchmarks/divergence/*.sh .ci/run

# Tests of pure code share the cores; end-to-end runs have them to themselves.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not e2e' -n 2
	$(BIN)/python -m pytest -m e2e

# Beside the CPU environment, which the other targets use.
setup-gpu:
	$(PYTHON) -m venv .venv-gpu
	bash docker/install_cuda.sh .venv-gpu/bin/python

clean:
	rm -rf $(VENV) .venv-gpu build *.egg-info .pytest_cache .mypy_cache .ruff_cache

.PHONY: docs
docs: $(STAMP)  ## the pages as a site in site/, offline; a dead link or a page that the code has left behind ends it
	$(BIN)/python docs/build_reference.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
