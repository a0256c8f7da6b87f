# make demo: train, prune, fine-tune, test in a few minutes    make test: the tests
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: setup app demo models-demo model test test-all fuzz faults lint audit docs bench bench-networks clean

setup: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed, found " + sys.version)'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the pinned requirements into .venv (a few minutes on the first run)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# The page: opens on http://127.0.0.1:7860; other settings: make app ARGS="--port 8000"
app: setup
	@$(BIN)/python -m prune app $(ARGS)

demo: setup
	@$(BIN)/python -m prune demo

# A data set of cracks with splits, in any layout python -m prune dataset recognizes; default: synthetic demo data
DATA ?= $(wildcard ../shared/data/dev/concrete800)

models-demo: setup
	@$(BIN)/python -m prune networks $(DATA)

# The network that ships, from the first drawing to the file, in hours; it goes on where it was stopped
SETS ?= ../shared/data/dev
model: setup
	@$(BIN)/python results/model/make.py $(SETS) --work build/model

test: setup
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-all: setup
	@$(BIN)/python -m pytest -q -m "slow or not slow"

# Damaged files of every format, then 200 damaged uploads to the page; it goes on where it was stopped: make fuzz CASES=10000
CASES ?= 10000
fuzz: setup
	@$(BIN)/python -m tests.fuzz.campaign --cases $(CASES)
	@$(BIN)/python -m tests.fuzz.page

# Commands killed, interrupted, without room on the disk, and started twice, then the long run: hours. The cases go on where they
# were stopped: make faults FAULTS=8
FAULTS ?= 4
faults: setup
	@$(BIN)/python -m tests.faults.campaign --cases $(FAULTS)
	@$(BIN)/python -m tests.faults.long_run

lint: setup
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy prune

# Known vulnerabilities of the installed packages; without access to PyPI one line says so
audit: setup
	@.ci/audit

docs: setup
	@$(BIN)/python -m sphinx -E -a -q -W --keep-going -b html -d build/doctrees docs site
	@echo "the documentation is in site/index.html"

bench: setup
	@$(BIN)/python -m prune benchmark

bench-networks: setup
	@$(BIN)/python -m prune benchmark --suite networks

clean:
	rm -rf .venv build site *.egg-info .pytest_cache .ruff_cache .mypy_cache
