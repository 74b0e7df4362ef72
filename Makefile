PYTHON ?= python3
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n > 2 ? n : 2)))

.PHONY: help setup demo test parity lint format clean

help: ## say what each target does
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile

setup: ## make .venv with Residua and its tools; at once where nothing changed
	@$(PYTHON) bootstrap.py

demo: setup ## train, evaluate and report on the bundled digits
	@.venv/bin/residua demo

test: setup ## run the tests on every core, one thread each
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $(WORKERS) --durations 10

# Beside the environment: a torchvision in it would replace torch, or break what imports it.
PARITY = torchvision==0.28.0 timm==1.0.31 transformers==5.23.0 huggingface_hub==2.4.0 tokenizers \
	pyyaml regex requests tqdm typer click hf-xet httpx2 httpcore2 anyio h11 certifi idna sniffio \
	truststore

parity: setup ## compare logits with torchvision's, timm's and transformers'; records results/parity.json
	test -d .parity || .venv/bin/python -m pip install -q --no-deps --target .parity $(PARITY)
	PYTHONPATH=.parity .venv/bin/python -m pytest -q -m parity tests/parity
	PYTHONPATH=.parity .venv/bin/python benchmarks/parity.py

lint: setup ## check style, format and types
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

format: setup ## put the code into the project's format
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

clean: ## remove .venv and everything else that can be made again; runs/ and data/ stay
	rm -rf .venv .parity .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
	find src tests -name __pycache__ -prune -exec rm -rf {} +
