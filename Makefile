# make demo: a first result and a pretraining, on synthetic data.   make test: install and run the tests.
# Both bring what they need into .venv, and print it.   make check: a minute, before each commit.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo

.PHONY: install native demo readme-figures test base soak lint check quick test-lowest test-newest perf perf-full perf-peers dist docs clean
install: $(VENV)/.installed

# Two stamps, so that the demo brings no test tools, and does not install again where the tests did.
define bring
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) found: install Python 3.11 or set PYTHON=..." >&2; exit 1; }
	@echo "Installing seamo[$(1)] into $(VENV) (with CUDA's libraries about 6 GB, some minutes), versions of constraints.txt:"
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python tools/install.py --constraint constraints.txt --editable '.[$(1)]'
	@$(BIN)/python -m pip list --format=freeze --exclude-editable | paste -s -d ' ' - | fold -s -w 120
endef

$(VENV)/.installed: pyproject.toml constraints.txt
	$(call bring,dev)
	@touch $(VENV)/.demo $@

# The compiled loops, again after they changed; installing compiles them too.
native: seamo/native/kernels.so
seamo/native/kernels.so: seamo/native/kernels.c tools/native.py
	$(PYTHON) tools/native.py

$(VENV)/.demo: pyproject.toml constraints.txt
	$(call bring,prep$(comma)torch)
	@touch $@

# Two acts, described by the demo itself; it goes on where it was interrupted. The world and the seed are not those that
# the recipe seamo-demo was chosen with (world 7, seed 0). SEAMO_SAMPLES=FOLDER shows act 1 on real tiles, too.
WORLD ?= 101
SEED ?= 10
comma := ,
demo: $(VENV)/.demo
	@$(BIN)/python examples/demo $(DEMO) --world $(WORLD) --seed $(SEED) $(if $(SEAMO_SAMPLES),--samples $(SEAMO_SAMPLES))

# The figures of the README, half an hour on two cores: several worlds and seeds, kept in docs/figures/demo.json.
readme-figures: $(VENV)/.demo
	$(BIN)/python docs/make_readme.py --run $(DEMO)-figures

# Bytecode is kept, as it is by default: hundreds of tests start a program, and each would compile our modules again.
unexport PYTHONDONTWRITEBYTECODE

# One thread a worker: two of them share two cores.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak"

# The wheel without extras, in an environment of its own: what it weighs, what it can do (a minute).
base: install
	$(BIN)/python -m tests.base_install

soak: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -o faulthandler_timeout=3600

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tools
	$(BIN)/python tools/changes.py check

# What every change must pass, a minute on two cores; CONTRIBUTING.md says what it leaves out.
QUICK := tests/test_layers.py tests/test_tools.py $(addprefix tests/seamo/test_, crops.py manifest.py model_config.py plan.py \
  stats.py store_roundtrip.py store_rules.py values.py) $(addprefix tests/bench/test_, adding.py adding_inside.py aggregate.py \
  intervals.py leaderboard.py metrics.py plan.py records.py stitch.py wiring.py)
check: install
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint quick

quick:
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not soak" $(QUICK)

# The same tests and the examples with the oldest dependencies that pyproject.toml allows, and with the newest there are.
test-lowest:
	mkdir -p build
	$(PYTHON) tools/lowest.py > build/lowest.txt
	$(call elsewhere,lowest,--constraint build/lowest.txt)

test-newest:
	$(call elsewhere,newest,)

define elsewhere
	$(PYTHON) -m venv --clear build/$(1)
	build/$(1)/bin/python -m pip install --quiet $(2) --editable '.[dev]'
	build/$(1)/bin/python -m pip list --format=freeze --exclude-editable | paste -s -d ' ' - | fold -s -w 120
	OMP_NUM_THREADS=1 build/$(1)/bin/python -m pytest -q -m "not soak" $(QUICK) \
	  tests/prep/test_adding_a_dataset.py tests/test_examples.py
endef

# The data path beside other readers: minutes, and half an hour. They read beside those that are installed, and name the
# others; `make perf-peers` brings them. Best on a machine that does nothing else.
perf: install
	$(BIN)/python perf/suite.py

perf-full: install
	$(BIN)/python perf/suite.py --full
	$(BIN)/python perf/beside.py

perf-peers: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[perf]'
	$(BIN)/python -m pip install --quiet --no-deps --requirement perf/peers.txt

# sdist and wheel for docs/releasing.md; uploads nothing.
dist:
	rm -rf dist
	$(PYTHON) -m venv --clear build/tools
	build/tools/bin/python -m pip install --quiet build twine
	build/tools/bin/python -m build --outdir dist
	build/tools/bin/twine check --strict dist/*

# The site in build/site; it loads nothing from elsewhere.
docs: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python docs/make_cli.py
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(DEMO) build dist
