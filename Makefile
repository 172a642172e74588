# make demo    both jobs on data that ships with the installed packages
# make test    ruff, mypy and the suite
# make test-all    the laws over all forms of the op, too, whose CPU kernels take half an hour to compile the first time
# make docs    the documentation as a site, in docs/_build/html; runs the examples, and again only those that changed
# make .venv   the environment alone
# make clean   remove the environment, caches and runs

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One thread a process: the suite runs in two processes, and small tensors gain nothing from more.
TEST_ENV := OMP_NUM_THREADS=1

.PHONY: demo test test-all docs clean .venv

demo: .venv
	$(BIN)/graphattn demo --out runs/demo

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(TEST_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal

test-all: .venv/test
	$(TEST_ENV) GRAPHATTN_ALL_FORMS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/laws

docs: .venv/docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder html docs docs/_build/html

.venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or later is needed, $$($(PYTHON) --version 2>&1) was found; make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "installing graphattn into .venv; the first time this downloads torch"
	$(INSTALL) -e .
	@touch $@

.venv/test: .venv/installed
	$(INSTALL) -e '.[test]'
	@touch $@

.venv/docs: .venv/installed
	$(INSTALL) -e '.[docs]'
	@touch $@

clean:
	rm -rf .venv runs docs/_build docs/gallery .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
