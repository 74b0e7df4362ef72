PYTHON ?= python3
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n > 2 ? n : 2)))

.PHONY: help setup demo test lint format clean

help: ## say what each target does
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile

setup: ## make .venv with Residua and its tools; at once where nothing changed
	@$(PYTHON) bootstrap.py

demo: setup ## train, evaluate and report on the bundled digits
	@.venv/bin/residua demo

test: setup ## run the tests on every core, one thread each
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $(WORKERS) --durations 10

lint: setup ## check style, format and types
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

format: setup ## put the code into the project's format
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

clean: ## remove .venv and everything else that can be made again; runs/ and data/ stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	find src tests -name __pycache__ -prune -exec rm -rf {} +
