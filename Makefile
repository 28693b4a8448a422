# Two commands matter: `make demo` and `make test`. Both share `make install`, which is quick when nothing changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo install install-test test check format size clean

demo: install
	$(BIN)/hanlin demo $(DEMO)

install: $(VENV)/.installed

install-test: $(VENV)/.installed-test

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Hanlin needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Hanlin into $(VENV) (about a minute) …"
	@$(PIP) --editable ".[serve,corpus]"
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@echo "Installing what the tests need …"
	@$(PIP) --editable ".[serve,hf,constrain,corpus,documents,ocr,sql,ray,test,lint]"
	@touch $@

test: install-test
	@sh scripts/test-system-packages.sh
	$(BIN)/python -m pytest $(TEST)

check: install-test
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/unit tests/rules

format: install-test
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

size:
	@for room in $$(find src/hanlin -mindepth 1 -maxdepth 2 -type d -not -name __pycache__ | sort); do \
	  printf '%6d  %s\n' $$(find $$room -name '*.py' -exec cat {} + | wc -l) $$room; done
	@git diff --shortstat HEAD -- src

clean:
	rm -rf $(VENV) build dist src/*.egg-info
