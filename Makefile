# `make quickstart` and `make test` do everything; each target builds .venv from pyproject.toml first if it must.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-cpu
# Pure tests share the cores, one thread each; files stay together, so that what a file sets up is set up once.
PURE := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --ignore=tests/e2e

# Where it is set, every process compiles the package anew and pytest rewrites every test.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup setup-gpu quickstart demo-llm lint fast slow e2e nightly test help clean
.NOTPARALLEL:

setup: $(STAMP)  ## .venv from pyproject.toml, for CPU: two to five minutes, 4 GB

$(STAMP): pyproject.toml docker/install_cpu.sh docker/steps.sh docker/constraints-cpu.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else "rlvr needs Python 3.11 or 3.12, this is %d.%d: make PYTHON=python3.11 ..." % v[:2])'
	$(PYTHON) -m venv $(VENV)
	bash docker/install_cpu.sh $(BIN)/python
	touch $(STAMP)

# Beside the CPU environment, which the other targets use.
setup-gpu:  ## .venv-gpu with the GPU stack, beside .venv
	$(PYTHON) -m venv .venv-gpu
	bash docker/install_cuda.sh .venv-gpu/bin/python

quickstart: $(STAMP)  ## train the built-in model on the built-in task
	$(BIN)/python -m rlvr.train recipe=dapo_divweight

# Interrupted, it goes on where it stopped.
demo-llm: $(STAMP)  ## a real pretrained model, SmolLM2-135M, learns sums in words; ends with its page of tokens
	test -f build/smollm2/config.json || $(BIN)/python -m rlvr.data.smollm2 output=build/smollm2
	$(BIN)/python -m rlvr.train recipe=dapo_divweight model=smollm2_135m model.path=$(CURDIR)/build/smollm2 data=sums \
		steps=10 eval.samples_per_prompt=1 run.save_every=5 run.name=demo-llm run.resume=auto
	$(BIN)/python -m rlvr.analyze run=runs/demo-llm select.problems=40 select.samples=1
	$(BIN)/python -m rlvr.report runs/demo-llm

lint: $(STAMP)  ## ruff, mypy, import-linter, hadolint, shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/shellcheck --external-sources docker/*.sh benchmarks/divergence/*.sh .ci/run

fast: $(STAMP)  ## pure tests without the slow ones: a minute and a half on two cores
	$(PURE) -m 'not e2e and not slow'

slow: $(STAMP)  ## the pure tests that make fast leaves out
	$(PURE) -m 'slow and not e2e'

# Four files at a time, the longest first: the engine and the learner of a small run take turns, and processes that
# start or end are waited for, so that it keeps less than one core busy. Commands that share the cores compute with one
# thread each: two that wait for one another burn both.
e2e: $(STAMP)  ## tests of whole runs on Ray, vLLM and DeepSpeed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m e2e -n 4 --dist loadfile --no-loadscope-reorder --durations 25

# The driver is killed twenty times at random moments, also while it starts, and engines, graders and nodes are lost on
# the way. What happens when is printed and depends on RLVR_TEST_SEED.
nightly: $(STAMP)  ## one asynchronous run that is killed and resumed twenty times
	RLVR_TEST_KILLS=$${RLVR_TEST_KILLS:-20} RLVR_TEST_SEED=$${RLVR_TEST_SEED:-$$(date +%F)} \
		$(BIN)/python -m pytest -s -m e2e tests/e2e/test_streaming_faults.py

test: lint fast slow e2e  ## all of it, cheapest first

help:  ## these lines
	@sed -n 's/^\([a-z0-9-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

clean:  ## remove what the targets made
	rm -rf $(VENV) .venv-gpu build site *.egg-info .pytest_cache .mypy_cache .ruff_cache

.PHONY: docs
docs: $(STAMP)  ## the pages as a site in site/, offline; a dead link or a page that the code has left behind ends it
	$(BIN)/python docs/build_reference.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
