# make demo   sets everything up, then runs the whole chain on drawn fundus images (three to ten minutes on two cores)
# make test   sets everything up, then passes the tests: one of each kind, about ten minutes on two idle cores
# make help   says what else there is

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEMO ?= demo
# Three processes, since a third of the time a test waits for a process of its own; each with whole files of tests, so
# that what a file makes once is made once; in the order of tests/conftest.py, the longest first.
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all style lint docs wheel bench reproduce chain vendor clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## make the virtual environment with the tested versions

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "dr_edge needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`. Try: make PYTHON=python3.12"; exit 1; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV) || { \
	  test "`id -u`" = 0 && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq python3-venv \
	  && $(PYTHON) -m venv --clear $(VENV); } || { \
	  echo "Could not make $(VENV). Install your system's venv package, for example: sudo apt-get install python3-venv"; exit 1; }
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --progress-bar on --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup ## photographs -> records -> run -> evaluation -> heat maps -> bundle -> latency, on drawn images
	$(RUN) -m dr_edge.demo --out=$(DEMO)

test: style ## the tests that take seconds, one of each kind
	$(RUN) -m pytest $(PARALLEL) -m 'not slow'

test-all: style ## all tests: every family, real photographs, kills and uploads by the hundred
	$(RUN) -m pytest $(PARALLEL)

style: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

lint: style ## ruff (rules and format) and mypy
	$(RUN) -m mypy

docs: setup ## the site, into site/: any warning fails, a link to a page or heading that is not there too
	$(RUN) -m pip install --quiet --constraint constraints.txt mkdocs-material
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build

wheel: setup ## the wheel and the sdist, into dist/, tried in an empty directory
	rm -rf dist
	$(RUN) -m hatchling build
	$(RUN) -m pytest tests/packaging/test_wheel.py

bench: setup ## benchmarks: ratios against named peers, in one run each
	$(RUN) -m pytest tests/benchmarks -o python_files='bench_*.py' -s
	$(RUN) tests/benchmarks/bench_preprocess.py

# The six commands of the README, for both data sets. DATA holds idrid/ and eyepacs/ as downloaded; WEIGHTS is a MobileNetV2
# no-top weights file, or imagenet, which Keras downloads.
DATA ?= ../shared/data
WEIGHTS ?= imagenet
REPRODUCED ?= runs
reproduce: setup ## the README's table of real photographs: make reproduce DATA=DIR WEIGHTS=FILE
	$(MAKE) chain SET=idrid SIZE=320 GIN=idrid_referable
	$(MAKE) chain SET=eyepacs SIZE=320 GIN=eyepacs_referable

chain:
	$(RUN) -m tfrecord_tools.build --dataset=$(SET) --data_dir=$(DATA)/$(SET) --image_size=$(SIZE) --out=$(REPRODUCED)/$(SET)/records
	$(RUN) -m dr_edge.train --gin_file=gin_configs/$(GIN).gin --gin_param="backbones.mobilenet_v2.weights = '$(WEIGHTS)'" \
	  --records=$(REPRODUCED)/$(SET)/records --run_dir=$(REPRODUCED)/$(SET)/run
	$(RUN) -m dr_edge.evaluate --run_dir=$(REPRODUCED)/$(SET)/run
	$(RUN) -m dr_edge.explain --run_dir=$(REPRODUCED)/$(SET)/run --images=$(REPRODUCED)/$(SET)/records --methods=gradcam,saliency \
	  --limit=12 --out=$(REPRODUCED)/$(SET)/heatmaps
	$(RUN) -m export --run_dir=$(REPRODUCED)/$(SET)/run --out=$(REPRODUCED)/$(SET)/bundle
	$(RUN) -m android_bench --bundle=$(REPRODUCED)/$(SET)/bundle --target=host --out=$(REPRODUCED)/$(SET)/bench

vendor: setup ## LiteRT.js for the page that `python -m dr_edge.serve` shows (npm, once)
	$(RUN) -m dr_edge.serve.vendor

clean: ## remove what demo wrote (the virtual environment stays)
	rm -rf $(DEMO)
