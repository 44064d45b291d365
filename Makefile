# Two commands for a newcomer: `make quickstart` and `make test`. Each sets up its own .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: quickstart navier_stokes test lint docs chaos fuzz clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[phantom]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e ".[phantom,dev,docs]"
	touch $@ $(VENV)/.run

# One thread: the networks are small, and threads that wait for each other cost more than they bring.
quickstart: export OMP_NUM_THREADS = 1
quickstart: $(VENV)/.run
	$(BIN)/monarch-sciml generate wave_in_medium --output data/quickstart_wave.h5 --n_dims 1 --n_samples 1100 \
	    --resolution 128 --grid 512 --n_modes 16 --alpha 2 --medium.correlation_length 0.05 --batch_size 50 --exist_ok true
	$(BIN)/monarch-sciml compare --config configs/quickstart_pde.yaml --options.resume true
	$(BIN)/monarch-sciml generate scans --output data/quickstart_scans --n_scans 14 \
	    --grid_shape "[128, 128]" --n_slices 8
	$(BIN)/monarch-sciml compare --config configs/quickstart_mri.yaml --options.resume true

# FNO and Monarch-NO on a periodic problem, where the learnable transform gains nothing.
navier_stokes: export OMP_NUM_THREADS = 1
navier_stokes: $(VENV)/.run
	$(BIN)/monarch-sciml generate navier_stokes --output data/quickstart_navier_stokes.h5 \
	    --viscosity 1e-3 --n_samples 260 --grid 64 --resolution 32 --t_end 15 --dt 0.02 --exist_ok true
	$(BIN)/monarch-sciml compare --config configs/navier_stokes.yaml --options.resume true

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

test: export OMP_NUM_THREADS = 1
test: lint
	$(BIN)/python -m pytest -n auto -q

docs: $(VENV)/.dev
	$(BIN)/python docs/build_site.py
	@echo "open build/site/index.html"

# Kill generate, train, compare and reconstruct 208 times in all: see docs/trust.md.
chaos: export OMP_NUM_THREADS = 1
chaos: export MONARCH_KILLS = 52
chaos: $(VENV)/.dev
	$(BIN)/python -m pytest -q -s tests/faults/test_kills.py

# Read 50,000 damaged files of every format.
fuzz: export OMP_NUM_THREADS = 1
fuzz: export MONARCH_MUTANTS = 50000
fuzz: $(VENV)/.dev
	$(BIN)/python -m pytest -q -s tests/faults/test_damaged_files.py

clean:
	rm -rf $(VENV) runs build
