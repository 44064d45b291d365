# Two commands for a newcomer: `make quickstart` and `make test`. Each sets up its own .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: quickstart test lint clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[phantom]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[phantom,dev]"
	touch $@ $(VENV)/.run

quickstart: $(VENV)/.run
	$(BIN)/monarch-sciml compare --config configs/quickstart_pde.yaml
	$(BIN)/monarch-sciml compare --config configs/quickstart_mri.yaml

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

test: lint
	$(BIN)/python -m pytest -n auto

clean:
	rm -rf $(VENV) runs
