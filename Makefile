# Outrider. `make run` shows it work; `make test` tests it. Everything is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Many images have it set. Hundreds of short processes would each compile what they import.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check lint format bench sim install clean generate kubernetes

help:
	@echo 'make run     see a model served, released and rolled back on this machine'
	@echo 'make test    every check and every test (what CI runs)'
	@echo 'make check   the quick part of it: lint, types, layers, unit tests'
	@echo 'make lint    ruff, mypy, import-linter'
	@echo 'make format  let ruff format the code'
	@echo 'make bench   benchmarks; one of them with NAME=gateway'
	@echo 'make sim     simulate what can go wrong; SEEDS=20000 FIRST=1 FOR=5m, or EDITS=10000'
	@echo 'make kubernetes  build the control plane of `outrider up --kubernetes`, once per version (needs Go)'
	@echo 'make generate  write the generated files again: CRDs, Helm chart, install.yaml, references'

$(READY): pyproject.toml
	@$(PYTHON) tools/make_venv.py $(VENV)
	@touch $(READY)

install: $(READY)

run: $(READY)
	@$(BIN)/outrider demo

lint: $(READY)
	$(BIN)/ruff check src tests bench tools
	$(BIN)/ruff format --check src tests bench tools
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format src tests bench tools
	$(BIN)/ruff check --fix src tests bench tools

check: lint
	$(BIN)/pytest -q -n 2 -m 'not e2e and not kubernetes'

test: lint
	@$(PYTHON) tools/ensure_commands.py curl openssl ip=iproute2
	@$(PYTHON) tools/kubernetes/build.py --if-possible
	@$(PYTHON) tools/helm/build.py --if-possible
	@$(BIN)/python tools/kubectl/fetch.py --if-possible
	@$(PYTHON) tools/traefik/install.py --if-possible
	$(BIN)/pytest -q -n 2 -m 'not e2e and not kubernetes'
	$(BIN)/pytest -q -n 3 --dist loadgroup -m 'kubernetes and not e2e'
	$(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder -m e2e

kubernetes:
	@$(PYTHON) tools/kubernetes/build.py

generate: $(READY)
	$(BIN)/python -m outrider.api.crd
	$(BIN)/python tools/generate_docs.py
	$(BIN)/python tools/generate_deploy.py

SEEDS ?= 1000
FIRST ?= 1
FOR ?= 5m

sim: $(READY)
	@$(BIN)/outrider sim --first $(FIRST) $(if $(EDITS),--edits $(EDITS),--seeds $(SEEDS) --for $(FOR))

bench: $(READY)
	@$(BIN)/python bench/run.py $(NAME)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
