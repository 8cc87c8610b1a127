# make            what CI runs: check and test
# make help       the rest

PYTHON ?= python3
PORT ?= 8700

uv := .tools/uv/bin/uv
python := .venv/bin/python
requirements := infra/requirements

# Packages come from wherever this machine gets its packages; interpreters are never downloaded.
export UV_PYTHON_DOWNLOADS := never
sync := $(uv) pip sync --quiet --require-hashes

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: all help install lock build start demo test check bench bench-peers scale cost matrix check-custom clean

all: check test

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*## /\t/' | expand -t 14

# ── Tools: made once, made anew when what they are made of changes ────────────────────────────────

install: .venv/.installed .tools/ministack/.installed .tools/sam/.installed ## all that the other targets need

.tools/uv/.installed: $(requirements)/uv.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=…")'
	$(PYTHON) -m venv --clear .tools/uv
	.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

.venv/.installed: $(requirements)/dev.txt .tools/uv/.installed
	$(uv) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(sync) --python .venv $<
	@touch $@

# Environments of their own: ministack pins botocore, SAM pins half of the world.
.tools/ministack/.installed .tools/sam/.installed: .tools/%/.installed: $(requirements)/%.txt .tools/uv/.installed
	$(uv) venv --quiet --allow-existing --python $(PYTHON) .tools/$*
	$(sync) --python .tools/$* $<
	@touch $@

lock: .tools/uv/.installed ## choose versions anew and write the requirement files
	$(uv) pip compile --quiet --upgrade pyproject.toml --universal --generate-hashes --python-version 3.11 \
		--output-file $(requirements)/runtime.txt
	$(uv) pip compile --quiet --upgrade pyproject.toml --universal --generate-hashes --python-version 3.11 \
		--group dev --constraints $(requirements)/runtime.txt --output-file $(requirements)/dev.txt
	echo uv | $(uv) pip compile --quiet --upgrade - --universal --generate-hashes --python-version 3.11 \
		--output-file $(requirements)/uv.txt
	for each in ministack sam; do \
		$(uv) pip compile --quiet --upgrade $(requirements)/$$each.in --universal --generate-hashes \
			--python-version 3.11 --output-file $(requirements)/$$each.txt || exit; \
	done

# ── The service ──────────────────────────────────────────────────────────────────────────────────

build: .venv/.installed ## the artifact for AWS: build/storelink.zip
	$(python) -m infra.build

start: install ## run the service on this machine until Ctrl-C
	@$(python) -m infra.local.stack --port $(PORT)

demo: install ## start it, play a store's life, end it
	@$(python) -m infra.local.stack --port $(PORT) --demo

# ── Checks ───────────────────────────────────────────────────────────────────────────────────────

test: install ## all tests, those on the local stack too
	$(python) -m pytest -n auto

check: .venv/.installed ## style, types, layers, template, known vulnerabilities
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/cfn-lint template.yaml
	$(python) -m infra.audit $(requirements)/runtime.txt

bench: install ## measure the budgets and write the table
	$(python) -m infra.bench

bench-peers: install ## the same beside other people's connectors, each in an environment of its own
	$(python) -m infra.bench.peers

scale: install ## simulate a million stores: what a minute costs, and which limits it meets
	$(python) -m infra.bench.scale

cost: install ## list prices times measured counts, against the budgets
	$(python) -m infra.bench.cost

matrix: .venv/.installed ## what each platform can do, into docs/platforms/README.md
	$(python) -m infra.matrix

check-custom: .venv/.installed ## whether a server keeps to our contract: CUSTOM_KEY=… make check-custom URL=…
	@$(python) -m infra.check_custom $(URL)

clean: ## remove what was made, but not the tools
	rm -rf build .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
