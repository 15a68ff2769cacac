# SPDX-License-Identifier: GPL-2.0-or-later
# Set-up, build and checks. `make help` says what there is.

SHELL := /bin/bash
.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: help setup check-guest check-guest-full test lint mutate bench matrix campaign race-table \
	race-library race-again kernels plugin guest compiled compiled-if-possible clean

BIN := .venv/bin
BUILT := build/plugin/shootdown.so guest compiled-if-possible

help:
	@echo 'make check-guest   check a kernel under load on every architecture'
	@echo '                   [KERNEL=debian:6.12|built:6.12|image|tree] [ARCH=x86_64|arm64|all]'
	@echo '                   [WORKLOAD=glob] [PROFILE=name,...] [JOBS=n] [OUT=dir]'
	@echo 'make check-guest-full  the same, and stress-ng from Debian packages: each stressor alone'
	@echo '                   [LOAD=stress-ng:glob] [SECONDS=n], and all of the above'
	@echo 'make test          linters and the test suite'
	@echo 'make lint          formatting, types, warnings'
	@echo 'make mutate        change the checker on purpose: how many changes the tests notice'
	@echo '                   [N=size] [SEED=n] [ONLY=rules/x.py] [JOBS=n]'
	@echo 'make bench         measure what recording costs; writes bench.json'
	@echo 'make matrix        boot every kernel with all event groups; writes docs/matrix.md'
	@echo 'make campaign      stock kernels, own workloads and stress-ng; resumes; writes docs/verdicts.md'
	@echo 'make race-table    how often planted races are found; writes docs/planted.md (hours)'
	@echo '                   [N=trials] [BUG=name] [ARCH=...] [METHOD=plain|scripted|...]'
	@echo 'make race-library  the races of the library on stock kernels; writes docs/race-library.md'
	@echo '                   [N=trials] [RACE=pattern] [ARCH=...] [KERNEL=...]'
	@echo 'make race-again    findings of planted races, replayed and shrunk; writes docs/race-again.md'
	@echo 'make kernels       build kernels from source: [KERNEL=built:6.12+debug] [ARCH=...]'
	@echo 'make compiled      compile the checker: faster, and says the same; every target does it'
	@echo 'make setup         install what is missing (root), make .venv; every target does it'
	@echo 'make clean         remove what was built; the environment and the cache stay'

# --- set-up: done once, looked at again when dpkg's database or the requirements change ----------

setup: build/setup/packages build/include/qemu-plugin.h .venv/.installed

build/setup/packages: images/setup/packages $(wildcard /var/lib/dpkg/status)
	@images/setup/packages
	@mkdir -p $(@D) && touch $@

build/include/qemu-plugin.h: images/setup/plugin-header build/setup/packages
	@images/setup/plugin-header $@

.venv/.installed: images/setup/venv pyproject.toml | build/setup/packages
	@images/setup/venv .venv
	@touch $@

# --- build -----------------------------------------------------------------------------------------

PLUGIN := $(wildcard plugin/*.c)
PLUGIN_NEEDS := $(PLUGIN) $(wildcard plugin/*.h) build/include/qemu-plugin.h
PLUGIN_FLAGS := -std=gnu11 -O2 -g -fPIC -shared -fvisibility=hidden -pthread -Wall -Wextra \
	-isystem build/include

build/plugin/shootdown.so: $(PLUGIN_NEEDS)
	@mkdir -p $(@D)
	gcc $(PLUGIN_FLAGS) $$(pkg-config --cflags glib-2.0) -o $@ $(PLUGIN)

# The plugin with each compiler, where a warning is an error.
build/lint/%.so: $(PLUGIN_NEEDS)
	@mkdir -p $(@D)
	$* $(PLUGIN_FLAGS) -Werror $$(pkg-config --cflags glib-2.0) -o $@ $(PLUGIN)

plugin: build/plugin/shootdown.so

guest: build/setup/packages
	@$(MAKE) --no-print-directory -C guest OUT=$(CURDIR)/build/guest

# The checker needs it for its speed only.
compiled: setup
	$(BIN)/python -m shootdown.compiled

compiled-if-possible: setup
	@$(BIN)/python -m shootdown.compiled --if-possible

# --- work ------------------------------------------------------------------------------------------

option = $(if $($(1)),--$(2) '$($(1))')

check-guest: setup $(BUILT)
	$(BIN)/shootdown ci $(call option,KERNEL,kernel) $(call option,ARCH,arch) \
		$(call option,WORKLOAD,workload) $(call option,PROFILE,profile) $(call option,JOBS,jobs) $(call option,OUT,out)

check-guest-full: setup $(BUILT)
	$(BIN)/shootdown ci --load '$(or $(LOAD),stress-ng:*)' $(call option,SECONDS,seconds) \
		$(call option,KERNEL,kernel) $(call option,ARCH,arch) $(call option,PROFILE,profile) \
		$(call option,WORKLOAD,workload) $(call option,JOBS,jobs) $(call option,OUT,out)

test: lint $(BUILT)
	SHOOTDOWN_COMPILED=1 $(BIN)/pytest -m 'not slow'

C_FILES = $(shell find plugin guest -name '*.[ch]')

lint: setup build/lint/gcc.so build/lint/clang.so
	$(BIN)/ruff format --check --quiet pytool tests
	$(BIN)/ruff check --quiet pytool tests
	$(BIN)/mypy --strict --no-error-summary
	clang-format --dry-run -Werror $(C_FILES)

mutate: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[mutation]'
	$(BIN)/python -m tests.mutation $(if $(N),-n $(N)) $(call option,SEED,seed) \
		$(call option,ONLY,only) $(call option,JOBS,jobs)

bench: setup $(BUILT)
	$(BIN)/python -m shootdown.bench

matrix: setup $(BUILT)
	$(BIN)/python -m shootdown.bench.matrix

campaign: setup $(BUILT)
	$(BIN)/python -m shootdown.bench.campaign $(call option,ONLY,only)

race-table: setup $(BUILT)
	$(BIN)/python -m shootdown.bench.races $(if $(N),-n $(N)) $(call option,BUG,bug) \
		$(call option,ARCH,arch) $(call option,METHOD,method) $(call option,KERNEL,kernel)

race-library: setup $(BUILT)
	$(BIN)/python -m shootdown.bench.library $(if $(N),-n $(N)) $(call option,RACE,race) \
		$(call option,ARCH,arch) $(call option,KERNEL,kernel)

race-again: setup $(BUILT)
	$(BIN)/python -m shootdown.bench.again $(if $(N),-n $(N)) $(call option,ARCH,arch) \
		$(call option,KERNEL,kernel) $(call option,BUG,bug)

kernels: setup
	@images/setup/packages kernel
	$(BIN)/shootdown build-kernel $(if $(KERNEL),'$(KERNEL)') $(call option,ARCH,arch)

clean:
	rm -rf build pytool/shootdown/_compiled bench.json .mypy_cache .pytest_cache .ruff_cache
