# SPDX-License-Identifier: MIT
#
# The single door: `make run` and `make test` set up everything they need and skip what is there.
# Set-up lives in tools/setup.sh; the firmware has a Makefile of its own.

VENV     ?= .venv
PYTHON   ?= python3
SCENARIO ?= scenarios/crash_restart
CYCLES   ?= 100
SEEDS    ?= 50000
DIFFERENTIAL_SEEDS ?= 500

# As many at once as there are CPUs, unless whoever calls says how many.
JOBS      = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
BIN      := $(VENV)/bin
READY    := $(VENV)/.mnlab-ready
PACKAGES := mnlab.py emulator tests scenarios setup.py
TIDY_FLAGS := -std=c11 -I. -Iinclude -Iarch/host/include
C_FILES   = $(shell git ls-files --cached --others --exclude-standard 'firmware/*.[ch]')

.DEFAULT_GOAL := help
.PHONY: help run test check python-check c-check tidy host-test sim-test pytest firmware bench soak fmt setup clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: setup firmware ## the crash-and-restart scenario on three architectures, live, ending in a verdict
	@$(BIN)/mnlab run $(SCENARIO)

test: setup check host-test sim-test pytest ## every check and every test

check: python-check c-check tidy ## linters, types, formatting: Python and C

firmware: ## the images for every architecture, the core as a library of this machine, the simulator
	@tools/setup.sh packages
	@$(MAKE) --no-print-directory $(JOBS) -C firmware all servers host sim

bench: setup firmware ## figures beside the bare limits, and whether they keep their bounds
	@$(BIN)/mnlab bench --check

soak: setup firmware ## CYCLES=100 crash-and-restart cycles in a row on one cluster
	@MNLAB_SOAK_CYCLES=$(CYCLES) $(BIN)/mnlab run scenarios/soak

fmt: setup ## format Python and C
	@$(BIN)/ruff format -q $(PACKAGES)
	@$(BIN)/ruff check -q --fix $(PACKAGES)
	@clang-format -i $(C_FILES)

clean: ## remove what was built; the virtual environment and run folders stay
	@$(MAKE) --no-print-directory -C firmware clean
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache emulator/_images

# --- set-up: done once, then skipped -----------------------------------------------------------------

setup: $(READY)

$(READY): pyproject.toml tools/constraints.txt tools/setup.sh
	@tools/setup.sh packages
	@tools/setup.sh venv $(PYTHON) $(VENV)
	@touch $@

# --- the parts of check and test -------------------------------------------------------------------

python-check: setup
	@$(BIN)/ruff format --check -q $(PACKAGES)
	@$(BIN)/ruff check -q $(PACKAGES)
	@$(BIN)/mypy --strict $(PACKAGES)

c-check: setup
	@clang-format --dry-run -Werror $(C_FILES)

tidy: setup
	@cd firmware && $(MAKE) -s --eval 'sources:;@echo $$(HOST_SOURCES)' sources | \
	    xargs -n 6 -P $(shell nproc) sh -c 'clang-tidy --quiet "$$@" -- $(TIDY_FLAGS) 2>/dev/null' clang-tidy

host-test: setup
	@$(MAKE) --no-print-directory $(JOBS) -C firmware host-test
	@$(MAKE) --no-print-directory $(JOBS) -C firmware host-test-asan
	@$(MAKE) --no-print-directory $(JOBS) -C firmware host-test-tsan
	@$(MAKE) --no-print-directory $(JOBS) -C firmware host-fuzz-replay

sim-test: setup firmware
	@$(BIN)/mnlab sim --seeds $(SEEDS)
	@$(BIN)/mnlab sim --differential --seeds $(DIFFERENTIAL_SEEDS)

pytest: setup firmware
	@$(BIN)/pytest
