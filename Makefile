# The two commands: `make demo` and `make test`. Everything lives in .venv, .cache and var below this folder.

# Python of the environment: PYTHON=…, else the one that .venv has, else the newest that runs here.
PYTHON ?= $(shell for python in .venv/bin/python python3.14 python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys, venv, ssl, sqlite3; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
	&& exec "$$python" -c 'import os, sys; print(os.path.join(sys.base_prefix, "bin", "python%d.%d" % sys.version_info[:2]))'; done)

.PHONY: help setup setup-test setup-docs setup-release tools demo test bench trials docs sbom audit lint format lock clean

help:
	@echo "make demo    set up, then run portal and gate with a demo catalogue"
	@echo "make test    set up, then lint, type check and run all tests"
	@echo "make bench   the benchmarks"
	@echo "make trials  storms of clients: is what is credited what they have read? LONG=1: an hour of them"
	@echo "make docs    build the manual: .cache/docs/index.html"
	@echo "make sbom    what the product consists of: dist/ftpgate-VERSION.cdx.json (CycloneDX)"
	@echo "make audit   is any pinned package known to be vulnerable? Asks the package index"
	@echo "make setup   only the environment: .venv/bin/ftpgate"
	@echo "make lint    ruff, layers, mypy      make format   let ruff rewrite"
	@echo "make lock    pin the newest versions of all packages"
	@echo "make clean   remove what the above made, but not var/, the demo's data"

setup setup-test setup-docs setup-release: .python
	@"$(PYTHON)" deploy/setup/environment.py $(patsubst setup-%,--%,$(filter setup-%,$@))

.PHONY: .python
.python:
	@test -n "$(PYTHON)" || { echo "setup: no Python of 3.11 to 3.14 found; install one (apt-get install python3) or run make PYTHON=/path/to/python3" >&2; exit 1; }

# The programs that the tests drive: download managers, archivers, a browser, real music.
tools: setup-test
	@.venv/bin/python deploy/setup/components.py

demo: setup
	@exec .venv/bin/ftpgate demo

# Both at once: the tests wait now and then, and the linters do not.
test: tools
	@"$(MAKE)" --no-print-directory --keep-going --jobs=2 lint pytest

# With bytecode kept: without it every worker compiles every test again, which takes a quarter of a minute for each.
.PHONY: pytest
pytest:
	@PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest

bench: setup-test
	@.venv/bin/python deploy/setup/components.py --bench
	@.venv/bin/python -m tests.bench

trials: tools
	@.venv/bin/python -m tests.trials $(if $(LONG),--long) $(if $(SOAK),--only soak) $(if $(GATES),--only gate_revocations --only gates)

# The variable silences a notice: the theme gets security fixes until May 2027, and Zensical succeeds it.
docs: setup-docs
	@.venv/bin/python docs/draw_states.py
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict --clean --config-file docs/mkdocs.yml
	@echo "The manual is in .cache/docs/index.html"

# By the lock file alone.
sbom audit: setup-release
	@.venv/bin/python deploy/setup/supply_chain.py $@

lint: setup-test
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet .
	@mkdir -p .cache; .venv/bin/lint-imports --no-cache --no-logo >.cache/layers.txt 2>&1 || { cat .cache/layers.txt; exit 1; }
	@.venv/bin/mypy

format: setup-test
	@.venv/bin/ruff check --quiet --fix .
	@.venv/bin/ruff format --quiet .

# Needs uv. Without any configuration of this machine's, so that every hash is one of the public index.
LOCK = uv --no-config pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade
lock:
	@$(LOCK) --extra build --output-file requirements.lock
	@$(LOCK) --extra build --extra test --constraint requirements.lock --output-file requirements-test.lock
	@$(LOCK) --extra build --extra docs --constraint requirements-test.lock --output-file requirements-docs.lock
	@$(LOCK) --extra build --extra release --constraint requirements-docs.lock --constraint requirements-test.lock --output-file requirements-release.lock

clean:
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find ftpgate webportal tests deploy -name __pycache__ -prune -exec rm -rf {} +
