# The two commands of the README, and what they are made of. Everything lands in .venv and in the user's cache.
.PHONY: help setup gate test test-kubernetes wheels check screenshots clean
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' Makefile

setup:  ## .venv with stormgate, its dependencies and the lab's servers
	@sh scripts/setup.sh

gate:  ## put the embedded lab on trial: prints the verdict, leaves the evidence in reports/
	@sh scripts/gate.sh $(ARGS)

test: setup  ## style, types, unit, golden and live tests
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@sh scripts/tests.sh $(ARGS)

test-kubernetes: setup  ## faults on a real control plane (its first build takes about 6 minutes, and Go 1.26)
	@sh scripts/kubernetes.sh
	@.venv/bin/python -m pytest -q -m kubernetes tests/kubernetes $(ARGS)

wheels: setup  ## dist/: wheels with the compiled core for x86_64 and aarch64, glibc and musl, and one without
	@.venv/bin/python scripts/wheels.py

check: setup  ## only what needs no processes: style, types, unit and golden tests
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/python -m pytest -q -n 2 -m "not slow and not live" $(ARGS)

screenshots: setup  ## the pictures of the README, from real runs (needs Chromium)
	@.venv/bin/python -m tests.suite.screenshots $(ARGS)

clean:  ## forget .venv and caches of the tools (run folders stay)
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
