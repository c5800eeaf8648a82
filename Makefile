# make demo   set up, track the example clip, write masks and an overlay, print J&F
# make test   set up, lint, run all tests
# make check  lint, and the tests of the core rooms: the inner loop
# make lint   ruff, mypy --strict and the import contracts, also of what `vos plugin new` writes
# make formats  open exported files with other tools' libraries, in an environment of their own
# make fuzz   damaged files into every reader for a minute; make fuzz FUZZ="--seed 7 --seconds 600"
# make sweep  every frame of 25 containers and 26 codecs in 12 orders, beside FFmpeg's own; make sweep SWEEP="--only ts/*"
# make bench  the benchmarks: ratios against named baselines, JSON in bench-out/
# make docs   build the documentation site into site/

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.ready-core
DEV := $(VENV)/.ready-dev
INSTALL = $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt

.PHONY: demo test check lint fuzz sweep bench docs clean

demo: $(CORE)
	$(BIN)/vos demo

test: lint browser
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: lint
	$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/vos/types tests/vos/io tests/vos/registry tests/vos/host/test_stream.py tests/vos/initialization tests/test_architecture.py tests/test_packaging.py

formats: $(DEV)
	tests/formats_env/run $(BIN)/python

# The tests of the web page drive a real browser.
browser:
	@.ci/install-browser

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# On Python 3.10 the last NumPy has types that say less, so the code is checked with the pinned one.
	$(BIN)/python -c "import sys; sys.exit(sys.version_info >= (3, 11))" || $(BIN)/mypy vos plugins
	$(BIN)/lint-imports
	.ci/check-scaffolds $(BIN)

fuzz: $(DEV)
	$(BIN)/python tests/fuzz/fuzz.py $(FUZZ)

sweep: $(DEV)
	$(BIN)/python tests/sweeps/sweep_frames.py $(SWEEP)

bench: $(DEV)
	set -e; for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

docs: $(DEV)
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The environment is made anew only when what it is made from changes.
$(CORE): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'vos needs Python 3.10 or newer: make PYTHON=python3.12')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	touch $@

$(DEV): $(CORE)
	$(INSTALL) -e ".[dev,cutie,diffseg,groupvit,hf-video,grounded,dreambooth,vit,mobilesam,ray,slurm,remote,web,docs]"
	touch $@

clean:
	rm -rf $(VENV) .venv.formats build dist site bench-out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
