# Two commands on a fresh machine with Python 3.11+, git and make:
#   make run    sets everything up and runs the pipeline in dev mode
#   make test   sets everything up and passes the tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DOCS := $(VENV)-docs
BENCH := $(VENV)-bench
pip = $(1)/bin/python -m pip --disable-pip-version-check --quiet
PIP := $(call pip,$(VENV))
# Installs what a lock file holds into the environment $(1): by uv, in a third of pip's time, or by
# pip where uv finds nothing, since it doesn't read pip's settings.
install = echo "installing what $(2) names" && \
	$(call pip,$(1)) install --require-hashes -r requirements-uv.lock && \
	{ $(1)/bin/uv pip install --quiet --python $(1)/bin/python --require-hashes -r $(2) 2>/dev/null || \
	$(call pip,$(1)) install --require-hashes -r $(2); }
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --quiet

# Images for containers set this often; every start would compile thousands of modules then, which
# uv leaves to whoever imports them first: a small run takes 12 s, and 19 s so.
export PYTHONDONTWRITEBYTECODE =

# Tests on Spark need Java 17; "no" leaves Spark out although there is one.
WITH_SPARK ?= $(shell java -version 2>&1 | grep -qE 'version "(1[7-9]|[2-9][0-9])' && echo yes || echo no)

.PHONY: run test test-spark test-examples faults fuzz lint format bench bench-scale setup setup-dev setup-spark \
	lock messages golden reference docs docs-serve clean

run: setup
	$(BIN)/python -m src.pipeline.orchestrator --mode dev

test: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# Kills at random moments and every other fault, far more of them than `make test` has time for.
faults: setup-dev
	VIGIE_TESTS_WARM=no VIGIE_FAULTS_KILLS=$${VIGIE_FAULTS_KILLS:-2000} $(BIN)/python -m pytest -n 2 --dist worksteal -q \
		tests/acceptance/faults $(PYTEST_ARGS)

# Spoilt files, ten times as many as in `make test`.
fuzz: setup-dev
	VIGIE_FUZZ_INPUTS=$${VIGIE_FUZZ_INPUTS:-100000} $(BIN)/python -m pytest -n 2 -q tests/fuzz \
		$(PYTEST_ARGS)

# Those on a standalone cluster and behind Spark Connect too.
test-spark: setup-dev
	VIGIE_SPARK_ALL=1 $(BIN)/python -m pytest -q tests/integration/spark $(PYTEST_ARGS)

# The examples, run by Airflow and Dagster themselves, each installed in an environment of its own.
test-examples: setup-dev .venv-examples/airflow/.ready .venv-examples/dagster/.ready
	$(BIN)/python -m pytest -q tests/examples $(PYTEST_ARGS)

.venv-examples/%/.ready: examples/%/requirements.lock | setup-dev
	$(BIN)/python -m venv .venv-examples/$*
	$(BIN)/uv pip install --quiet --python .venv-examples/$*/bin/python --require-hashes -r $<
	@touch $@

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# In an environment as its users have it, with the accelerated extra: scikit-learn imports pandas
# where it is, and the tests' own environment has it.
bench: $(BENCH)/.ready
	$(BENCH)/bin/python -m benchmarks.run $(BENCH_ARGS)

$(BENCH)/.ready: requirements-accelerated.lock pyproject.toml
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(call install,$(BENCH),$<)
	$(call pip,$(BENCH)) install --no-deps --no-build-isolation -e .
	@touch $@

# How time and memory grow: BENCH_ARGS="--scales 0.1 1 10 30" takes as much disk as it says.
bench-scale: setup-dev
	$(BIN)/python -m benchmarks.scale $(BENCH_ARGS)

setup: $(VENV)/.ready .env

setup-dev: $(VENV)/.ready-dev .env
ifeq ($(WITH_SPARK),yes)
setup-dev: setup-spark
endif

# PySpark is 400 MB: only who uses it has it.
setup-spark: $(VENV)/.ready-spark

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vigie needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Everything comes by its recorded hash; vigie itself is built with what the lock holds.
$(VENV)/.ready: requirements.lock pyproject.toml | $(BIN)/python
	@$(call install,$(VENV),requirements.lock)
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@$(call install,$(VENV),requirements-dev.lock)
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.ready

$(VENV)/.ready-spark: requirements-spark.lock | $(VENV)/.ready
	@$(call install,$(VENV),requirements-spark.lock)
	@touch $@

# Empty until somebody fills it in: vigie then uses its embedded PostgreSQL.
.env:
	@cp .env.example .env && chmod 600 .env

# The site, in site/: built without the network, and asking nobody for anything when it is read.
docs: $(DOCS)/.ready
	$(DOCS)/bin/zensical build --strict --clean
	$(DOCS)/bin/python -m tests.site site

docs-serve: $(DOCS)/.ready
	$(DOCS)/bin/zensical serve

# The generator's own environment: what it needs must not decide what vigie is tested with.
$(DOCS)/.ready: requirements-docs.lock
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(call install,$(DOCS),$<)
	@touch $@

lock: setup-dev
	$(BIN)/$(LOCK) --group build --output-file requirements.lock
	$(BIN)/$(LOCK) --group build --group dev --output-file requirements-dev.lock
	for name in airflow dagster; do \
		(cd examples/$$name && ../../$(BIN)/$(subst pyproject.toml,requirements.in,$(LOCK)) \
			--output-file requirements.lock); \
	done
	for name in docs uv; do \
		$(BIN)/$(subst pyproject.toml,,$(LOCK)) --group $$name --output-file requirements-$$name.lock; \
	done
	$(BIN)/$(LOCK) --extra spark --constraint requirements.lock --output-file requirements-spark.lock
	$(BIN)/$(LOCK) --group build --extra accelerated --constraint requirements.lock \
		--output-file requirements-accelerated.lock

# Collects the messages of the code, keeps the translations, compiles the catalogues.
messages: setup-dev
	$(BIN)/python -m tests.messages

# Writes anew what whole texts (help, plans, errors) are compared with; look at the difference.
golden: setup-dev
	VIGIE_WRITE_GOLDEN=1 $(BIN)/python -m pytest -n 2 -q tests/golden

# The reference pages that are made from the code.
reference: setup-dev
	$(BIN)/python -m tests.reference

clean:
	rm -rf $(VENV) $(DOCS) $(BENCH) .venv-examples site .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
