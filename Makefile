# Two commands do everything: `make demo` and `make test`. Each sets up what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A package index to take PyTorch from first, such as the CPU-only one (see README.md); empty takes the usual one.
TORCH_INDEX ?=

.PHONY: help demo test test-slow check setup apertium chromium format clean

help:
	@echo "make demo       train, index and measure on real data; a few minutes"
	@echo "make test       checks and the default tests"
	@echo "make test-slow  the tests that start, kill and resume processes"
	@echo "make apertium   install the translator apertium-eng-spa (Debian, as root); tests that need it are skipped without"
	@echo "make chromium   install chromium and its driver (Debian, as root); tests that need them are skipped without"
	@echo "make check      ruff, mypy, import layers"
	@echo "make format     let ruff rewrite the code's layout"
	@echo "make clean      remove .venv and caches"

demo: $(VENV)/.demo
	$(BIN)/textcl demo

test: check
	$(BIN)/python -m pytest

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m "slow and not gpu"

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The offline translator is a package of the system, not of Python.
apertium:
	test -e /usr/share/apertium/modes/eng-spa.mode || (apt-get update && apt-get install -y --no-install-recommends apertium-eng-spa)

# The browser that reports are opened in by the tests; its driver comes with it, in the same version.
chromium:
	command -v chromedriver > /dev/null || (apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver)

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(VENV)/.test

# A stamp is written last: a set-up that was interrupted starts again, one that is done is not repeated.
$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if [ -n "$(TORCH_INDEX)" ]; then $(BIN)/pip install -c constraints.txt --index-url "$(TORCH_INDEX)" torch; fi
	$(BIN)/pip install -c constraints.txt -e ".[demo]"
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install -c constraints.txt -e ".[demo,test]"
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
