# Two commands for everyone: `make quickstart` and `make test`. Both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/quickstart
TEST_WORKERS ?= 2
CHAOS := runs/chaos
EVENTS ?= 100

.PHONY: quickstart check-quickstart test chaos lint types loss-curves clean

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

quickstart: $(VENV)/installed  ## generate faces, train on two processes, evaluate, leave plots
	$(BIN)/python -m data_prep synthetic $(RUN)/data --identities 300 --images 9000 --held-out 100 --pairs 2000
	$(BIN)/python -m lightning_face fit --config configs/quickstart.yaml --run_dir $(RUN)
	$(BIN)/python -m lightning_face test --run_dir $(RUN)
	@echo "Look at $(RUN)/plots, $(RUN)/metrics.csv and $(RUN)/result.json"

check-quickstart: quickstart  ## the quickstart's network must decide 90 % of the pairs
	$(BIN)/python -c 'import json; figures = json.load(open("$(RUN)/result.json"))["verification"]["held_out"]; \
	print("accuracy", figures["accuracy"]); assert figures["accuracy"] >= 0.9'

test: $(VENV)/installed  ## the tests; one thread a process, since ranks are processes; a file on one worker, since its tests share runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --durations=25

chaos: $(VENV)/installed  ## strike runs by kills, signals, full disks and damaged checkpoints: nothing may show; see docs/reliability.md
	rm -rf $(CHAOS)
	$(BIN)/python -m tests.chaos $(CHAOS) --events $(EVENTS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

loss-curves: $(VENV)/installed  ## draw docs/losses.svg anew, from the code of the losses
	$(BIN)/python -m benchmarks.loss_curves --out docs/losses.svg

clean:  ## remove what the quickstart made
	rm -rf $(RUN)
