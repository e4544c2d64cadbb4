# make demo | test | lint | docs | clean.  PYTHON=python3.12 make test  takes another Python; it must be 3.10 or later.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint docs clean

# Writes videos, extracts their features and shows what came out. A second run has nothing left to do and says so.
demo: $(INSTALLED)
	$(BIN)/featx synth demo/videos --per-class 2
	$(BIN)/featx extract --model res3d demo/videos demo/features.h5
	$(BIN)/featx info demo/features.h5 --plot demo/features.png

# make test ARGS="-k clips -x".  Two tests at once, each with one thread for OpenMP: its threads wait for one another by spinning.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Writes every command's --help into README.md; a test fails when that is out of date.
docs: $(INSTALLED)
	$(BIN)/python tools/cli_reference.py README.md

clean:
	rm -rf $(VENV) demo build dist featx.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null || { \
	  found=$$(command -v $(PYTHON) > /dev/null && $(PYTHON) --version 2>&1 || echo missing); \
	  echo "featx needs Python 3.10 or later, and $(PYTHON) is $$found: name another one, as in make PYTHON=python3.12 ..." >&2; \
	  exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@
