# The project's commands. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-slurm test-conda prefetch lint format docs lock clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tools of the environment (dcm2niix, bidscoiner, the BIDS validator) are found without activating it.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# No telemetry from any dependency.
export NO_ET := 1
export BIDSCOIN_TRACKUSAGE := no
export DO_NOT_TRACK := 1
CORES ?= all
SNAKEMAKE := $(BIN)/snakemake --profile config/profiles/local --cores $(CORES)
# Progress bars in a terminal, plain lines in a file.
PROGRESS := $(if $(MAKE_TERMOUT),--logger rich)

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: envs/local.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "scan2map needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement envs/local.lock
	@touch $@

install: $(VENV)/.installed  ## Create .venv with the pinned dependencies

DEMO_CONFIG := config/demo/config.yaml

ifeq ($(DEMO),quick)
demo: install  ## Simulate a small study as DICOM, run the whole pipeline on the CPU, train small networks (DEMO=quick: without)
	$(SNAKEMAKE) $(PROGRESS) --configfile $(DEMO_CONFIG) config/demo/quick.yaml
	@echo "The report: $(CURDIR)/results/demo-quick/report/index.html"
else
demo: install
	$(SNAKEMAKE) $(PROGRESS) --configfile $(DEMO_CONFIG)
	$(SNAKEMAKE) $(PROGRESS) --configfile $(DEMO_CONFIG) config/demo/asl_quantnet.yaml -- results/demo/validation/asl_quantnet.tsv
	@echo "The report: $(CURDIR)/results/demo/report/index.html"
endif

lint: install  ## Check style: ruff, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint --configfile config/demo/config.yaml

format: install  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

docs: install  ## Regenerate config/README.md from the schemas
	PYTHONPATH=workflow/lib $(BIN)/python -m scan2map.docs

test: lint  ## Run all checks
	$(BIN)/python -m pytest -n 2 --dist loadscope tests

test-slurm: install  ## Run the cluster tests on a real Slurm, brought up here (Debian 12, as root)
	tests/slurm/rig.sh run $(BIN)/python -m pytest -rA tests/slurm

test-conda: install  ## Solve and link the conda environments offline and run a study in them (Linux, Python 3.11)
	tests/conda/rig.sh run $(PYTHON) $(BIN)/python -m pytest -rA tests/conda

prefetch: install  ## Make the conda environments ahead, where there is internet (needs conda)
	$(BIN)/snakemake --profile slurm --conda-create-envs-only --cores 1

lock:  ## Resolve envs/local.in into envs/local.lock (needs the package registry)
	rm -rf work/lock && $(PYTHON) -m venv work/lock && work/lock/bin/pip install --quiet --requirement envs/local.in
	{ sed -n 1p envs/local.lock; work/lock/bin/pip freeze | sed 's/+cpu//'; } > envs/local.lock.new && mv envs/local.lock.new envs/local.lock

NIIVUE := 0.69.0
NIIVUE_FOLDER := workflow/report/assets/niivue
niivue:  ## Get the viewer of the pages again and compare it with its checksum (needs npm)
	rm -rf work/niivue && mkdir -p work/niivue
	npm pack @niivue/niivue@$(NIIVUE) --pack-destination work/niivue
	tar --extract --gzip --file work/niivue/niivue-niivue-$(NIIVUE).tgz --directory work/niivue
	cd work/niivue/package/dist && sha256sum --check $(CURDIR)/$(NIIVUE_FOLDER)/niivue.sha256
	cp work/niivue/package/dist/niivue.umd.js $(NIIVUE_FOLDER)/

clean:  ## Remove results of the demo (keeps .venv and the results of your study)
	rm -rf results/demo* logs/demo* .pytest_cache .ruff_cache
