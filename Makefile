# `make` lists the targets. Every target sets up what it needs by itself: Python 3.11+, make and
# git are enough.
PYTHON ?= python3
BIN := .venv/bin
GENERATOR := .venv-generator/bin/python
BENCHMARKS := .venv-benchmarks/bin/python
EXAMPLES := .venv-examples/bin/python
REFEREES := .venv-referees/bin/python
HAND_WRITTEN := openapi auth_plugin orders sandbox tests benchmarks docs examples referees release hatch_build.py
TYPED := generated/bitopro_client auth_plugin/bitopro_auth orders/bitopro_orders \
	sandbox/bitopro_sandbox openapi/rules.py tests benchmarks docs/demo.py docs/site/pages.py \
	examples referees release hatch_build.py
# What mypy found missing stays missing for it when it is there again: a cache for each set of
# generated files.
MYPY_CACHE = .mypy_cache/$(shell find generated -name '*.py' | LC_ALL=C sort | cksum | cut -d' ' -f1)

.PHONY: help demo test soak bench bench-many generate drift surface change-report lint types record sandbox build lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 15

demo: .venv/ready  ## cancel an order on a local exchange and watch it happen
	@$(BIN)/python docs/demo.py

test: lint types drift change-report  ## everything that must hold before a change is shared
	$(BIN)/python -m pytest -n 3 --dist worksteal

soak: .venv/ready  ## run mixes of faults at random: on outcomes (RUNS=2000), on the throttle (MINUTES=10)
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10) $(RUNS:%=--runs %) $(SEED:%=--seed %) $(KIND:%=--kind %)

bench: .venv-benchmarks/ready  ## measure the speed next to other clients (needs nginx; seven minutes)
	@$(BENCHMARKS) -m benchmarks.run $(BENCH)

bench-many: .venv-benchmarks/ready  ## measure how soon many orders are off the book (eight minutes)
	@$(BENCHMARKS) -m benchmarks.many $(BENCH)

.PHONY: referees
referees: .venv-referees/ready referees/node_modules/ready  ## ask others whether they agree: two clients, schemathesis, two linters
	$(REFEREES) -m pytest referees

generate: .venv-generator/ready  ## rewrite generated/bitopro_client from openapi/bitopro.yaml
	$(GENERATOR) openapi/generate.py

drift: .venv-generator/ready .venv/ready  ## fail if the client is not what the spec gives, or openapi/surface is old
	$(GENERATOR) openapi/upstream.py
	$(GENERATOR) openapi/generate.py --check
	$(BIN)/python openapi/surface.py --check

REPORT := $(addprefix openapi/,surface.py command_line.py spec_changes.py surface_changes.py report.py changes.py)
.PHONY: surface change-report
surface: .venv/ready  ## write openapi/surface, what importers see, anew
	$(BIN)/python openapi/surface.py $(RELEASE:%=--release)

change-report: .venv/ready  ## say what changed for importers since the last release (BASE=<tag or commit>)
	@$(BIN)/python openapi/changes.py $(BASE)

lint: .venv/ready  ## ruff over hand-written code, and the house rules of the spec
	$(BIN)/ruff check $(HAND_WRITTEN)
	$(BIN)/ruff format --check $(HAND_WRITTEN)
	$(BIN)/python openapi/rules.py

types: .venv/ready  ## mypy --strict over every package and the tests
	$(BIN)/mypy --cache-dir $(MYPY_CACHE) $(TYPED) $(REPORT)

.PHONY: examples
examples: .venv-examples/ready  ## run the examples against the sandbox, with the package from its wheel
	rm -rf .venv-examples/wheel
	$(EXAMPLES) -m hatchling build -t wheel -d .venv-examples/wheel
	$(EXAMPLES) -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .venv-examples/wheel/*.whl
	$(EXAMPLES) -m pytest examples

.PHONY: docs docs-check
docs: .venv-docs/ready  ## build the documentation as a site, into build/site
	@.venv-docs/bin/python docs/site/pages.py build/pages
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

docs-check: docs .venv/ready  ## open every page of the site in Chromium (SHOTS=FOLDER keeps pictures)
	@$(BIN)/mypy --cache-dir .mypy_cache/docs --python-executable .venv-docs/bin/python \
	  docs/site/check.py docs/site/constructors.py docs/site/hooks.py
	@.venv-docs/bin/python docs/site/check.py $(SHOTS:%=--shots %)

record: .venv/ready  ## record the cassettes anew (see tests/cassettes/README.md)
	$(BIN)/python -m pytest tests/test_cassettes.py --record-mode=rewrite $(LIVE)

sandbox: .venv/ready  ## run the local exchange until Ctrl-C
	@$(BIN)/python -m bitopro_sandbox

.PHONY: release-check
release-check: .venv-release/ready release/node_modules/ready  ## build what is to be released, and try it on every Python that is here
	@.venv-release/bin/python release/check.py

build: .venv/ready  ## build the wheel into dist/
	$(BIN)/hatchling build -t wheel

lock: .venv-lock/ready  ## compile requirements/*.in into pinned, hashed *.txt (NAMES=generator)
	for name in $(or $(NAMES),dev examples generator benchmarks referees release docs); do \
	  .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade \
	    --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" requirements/$$name.in -o requirements/$$name.txt \
	  || exit 1; \
	done

clean:  ## remove the environments and every cache
	rm -rf .venv .venv-* */node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The package is installed from the checkout, with the pinned hatchling and nothing else.
.venv/ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv-generator/ready: requirements/generator.txt
	$(PYTHON) -m venv --clear .venv-generator
	$(GENERATOR) -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv-benchmarks/ready: requirements/benchmarks.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-benchmarks
	$(BENCHMARKS) -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(BENCHMARKS) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.venv-examples/ready: requirements/examples.txt
	$(PYTHON) -m venv --clear .venv-examples
	$(EXAMPLES) -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv-referees/ready: requirements/referees.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-referees
	$(REFEREES) -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	$(REFEREES) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

referees/node_modules/ready: referees/package.json referees/package-lock.json
	cd referees && npm ci --loglevel=error
	@touch $@

.venv-release/ready: requirements/release.txt
	$(PYTHON) -m venv --clear .venv-release
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

release/node_modules/ready: release/package.json release/package-lock.json
	cd release && npm ci --loglevel=error
	@touch $@

.venv-docs/ready: requirements/docs.txt
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv-lock/ready: requirements/lock.txt
	$(PYTHON) -m venv --clear .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
