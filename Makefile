# litefleet: make demo (see it work), make test (all tests), make check (under a minute), make bench AREA=...
EXTRAS_DEMO := agent packager server
SHELL := bash
AREA ?=

.PHONY: help demo test test-arm64 test-pythons test-converters test-gstreamer check check-style check-types check-unit bench lock format clean

help:  ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

.venv/ready: requirements/dev.txt pyproject.toml scripts/make-environment
	@scripts/make-environment .venv requirements/dev.txt

.venv-demo/ready: requirements/demo.txt pyproject.toml scripts/make-environment
	@scripts/make-environment .venv-demo requirements/demo.txt

demo: .venv-demo/ready  ## Pack, publish, roll out, refuse: the whole story on this machine (KEEP=1 leaves it running)
	@.venv-demo/bin/python examples/demo/run.py $(if $(KEEP),--keep)

check: .venv/ready  ## ruff, mypy and the unit tests, side by side
	@$(MAKE) --no-print-directory -j3 --output-sync=target check-style check-types check-unit

check-style: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

check-types: .venv/ready
	.venv/bin/mypy

check-unit: .venv/ready
	.venv/bin/pytest -q -n 2 tests/unit

test: .venv/ready  ## Every test, with branch coverage
	scripts/install-system-packages
	@$(MAKE) --no-print-directory check-style check-types
	rm -f .coverage .coverage.*
	.venv/bin/coverage run -m pytest -n 2 --dist loadfile tests/unit tests/integration
	.venv/bin/coverage run -m pytest tests/e2e
	.venv/bin/coverage combine -q
	.venv/bin/python scripts/check_coverage.py

test-arm64: .venv/ready  ## The agent on the real aarch64 wheels, by emulation (makes build/arm64 on first use, 600 MB)
	scripts/install-system-packages
	.venv/bin/pytest -q tests/arm64

test-pythons: .venv/ready  ## Unit tests of contract and agent on every Python 3.10 to 3.13 that is installed
	scripts/test-pythons

test-converters: .venv/ready  ## The real converters (makes environments of some 5 GB on first use; LITEFLEET_TEST_CACHE=FOLDER keeps them there)
	.venv/bin/pytest -q -s tests/converters

test-gstreamer:  ## Pipelines through Debian's OpenCV (needs root for apt on first use, 483 MB)
	scripts/test-gstreamer

bench: .venv/ready  ## Benchmarks into build/bench/; AREA=agent or packager runs one
	.venv/bin/python -m tests.benchmarks $(AREA)

lock:  ## Resolve the locked versions again
	scripts/lock

format:
	.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

clean:
	rm -rf build .venv .venv-demo
