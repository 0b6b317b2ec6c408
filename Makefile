# litefleet: make demo (see it work), make test (all tests), make check (under a minute), make bench AREA=...
EXTRAS_DEMO := agent packager server
SHELL := bash
AREA ?=

.PHONY: help demo test check bench lock format clean

help:  ## What can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

.venv/ready: requirements/dev.txt pyproject.toml scripts/make-environment
	@scripts/make-environment .venv requirements/dev.txt

.venv-demo/ready: requirements/demo.txt pyproject.toml scripts/make-environment
	@scripts/make-environment .venv-demo requirements/demo.txt

demo: .venv-demo/ready  ## Pack, publish, roll out, refuse: the whole story on this machine (KEEP=1 leaves it running)
	@.venv-demo/bin/python examples/demo/run.py $(if $(KEEP),--keep)

check: .venv/ready  ## ruff, mypy and the unit tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest -q tests/unit

test: .venv/ready  ## Every test, with branch coverage
	scripts/install-system-packages
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	rm -f .coverage .coverage.*
	.venv/bin/coverage run -m pytest tests/unit tests/integration tests/e2e
	.venv/bin/coverage combine -q
	.venv/bin/python scripts/check_coverage.py

bench: .venv/ready  ## Benchmarks into build/bench/; AREA=agent or packager runs one
	.venv/bin/python -m tests.benchmarks $(AREA)

lock:  ## Resolve the locked versions again
	scripts/lock

format:
	.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

clean:
	rm -rf build .venv .venv-demo
