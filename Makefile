# Needs Python 3.11 or newer and GNU make; everything else goes into .venv. `make` alone lists the targets.
PYTHON ?= python3
SCALE ?= organism
GPUS ?= 1
# The build of torch that `make env` takes: cpu; auto, the one for the GPU here; or cu130, rocm6.4 ... as uv names them.
TORCH_BACKEND ?= cpu
# The torch that `make lock` pins. Without a bound, the newest release may bring a CUDA build of several GB.
TORCH ?= 2.13.0

# Later releases refuse Python 3.11.0 to 3.11.4, which Debian 12 and others have.
OLDER := 'soupsieve<3.0.2'

# Jupyter refuses to run as root, whom a container has alone; it listens on this machine only, and asks for its token.
ALLOW_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

BIN := .venv/bin
INSTALLED := .venv/.installed
SITE_INSTALLED := .venv/.site-installed
BROWSER_INSTALLED := .venv/.browser-installed

export TOKENIZERS_PARALLELISM := false
export HF_HUB_DISABLE_TELEMETRY := 1

# The portable arithmetic of ssah_core/arithmetic.py, read when torch is loaded: the same bits for any number of threads
# and on every x86 processor with AVX2. Checkpoints (`make paper`, SCALE=smollm) need it not.
PORTABLE := $(if $(filter smollm,$(value SCALE)),,reproduce) publish trial verify golden test lab
$(PORTABLE): export MKL_CBWR := AVX2,STRICT
$(PORTABLE): export ATEN_CPU_CAPABILITY := avx2
$(PORTABLE): export ONEDNN_MAX_CPU_ISA := AVX2
$(PORTABLE): export OPENBLAS_CORETYPE := Haswell
$(PORTABLE): export OMP_WAIT_POLICY := passive

define CHECK_PYTHON
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
	echo "PYTHON is $(PYTHON), but Python 3.11 or newer is needed; name one: make PYTHON=python3.11" >&2; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	echo "$(PYTHON) cannot make an environment, since its ensurepip is missing; on Debian: apt install python3-venv" >&2; exit 1; }
endef

# uv gets torch from the index of the wanted build, 0.2 GB for the CPU. Where it cannot, pip takes the registry's build,
# which on Linux may bring CUDA of 5 GB.
define INSTALL_LOCKED
{ uv=$$(command -v uv) || { $(BIN)/python -m pip install --quiet uv && uv=$(BIN)/uv; }; } && \
"$$uv" pip install --python $(BIN)/python --torch-backend=$(call GIVEN,TORCH_BACKEND) --requirement requirements.lock || { \
	echo "uv could not install torch for" $(call GIVEN,TORCH_BACKEND)": pip takes the build that your package registry has" >&2; \
	$(BIN)/python -m pip install --requirement requirements.lock; }
endef
# One word of the shell, whatever is in it: folders may have spaces and apostrophes. What is given is taken as it stands:
# neither make nor a shell looks for variables or commands in it.
QUOTED = '$(subst ','\'',$(1))'
GIVEN = $(call QUOTED,$(value $(1)))
WORDS = $(foreach word,$(value $(1)),$(call QUOTED,$(word)))
unexport SCALE GPUS TORCH_BACKEND TORCH NAME NOTEBOOKS SEEDS STUDIES MODEL UNALIGNED DTYPE FAULTS BENCH COMPARE PILLARS

# Of a run that goes to a folder of its own: its name, and the notebooks to run.
CHOICE = $(if $(value NAME),--output $(call QUOTED,runs/$(value NAME))) $(CHOSEN)
CHOSEN = $(if $(value NOTEBOOKS),--notebooks $(call WORDS,NOTEBOOKS))

define CHECK_MODEL
test -n $(call GIVEN,MODEL) || { echo "MODEL is not set; name a folder or a hub id: make $@ MODEL=Qwen/Qwen2.5-7B-Instruct" >&2; exit 1; }
endef

.DEFAULT_GOAL := help
.PHONY: help env reproduce publish trial verify golden test test-browser bench faults paper rehearse lab student site figures report audit lock clean

help:  ## list the targets
	@echo 'make TARGET, where TARGET is one of'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-12s %s\n", $$1, $$2 }'

env: $(INSTALLED)  ## make the environment .venv (PYTHON=python3.12, TORCH_BACKEND=auto for a GPU)

reproduce: $(INSTALLED)  ## raise SEEDS organisms, run every notebook into runs/NAME, say what was found (SEEDS=1 SCALE=organism NAME=organism-1; SCALE=smollm takes a real model of 135 million parameters)
	$(BIN)/python -m ssah_core.runner.execute --seeds $(call QUOTED,$(or $(value SEEDS),1)) --scale $(call GIVEN,SCALE) $(CHOICE)

publish: $(INSTALLED)  ## renew what is committed: every notebook in place, on the organisms that it names; paper_repro.md
	$(BIN)/python -m ssah_core.runner.execute --publish $(CHOSEN)

trial: $(INSTALLED)  ## measure the primary claims on the registered organisms: a night, goes on where it was (PILLARS="units freezing")
	$(BIN)/python -m ssah_core.studies.primaries $(call WORDS,PILLARS)

verify: $(INSTALLED)  ## measure one organism of every study again, drawn by the code, and compare (STUDIES="losses attacked" SCALE=organism NAME=organism-1)
	$(if $(value NAME),SSAH_FIGURES=$(call QUOTED,$(CURDIR)/runs/$(value NAME)/figures)) $(BIN)/python -m ssah_core.runner.verify \
		--scale $(call GIVEN,SCALE) $(if $(value STUDIES),--studies $(call WORDS,STUDIES))

golden: $(INSTALLED)  ## renew the tests' golden rows, once a study has a new version
	rm -rf runs/golden
	$(BIN)/python -m ssah_core.runner.execute --scale tiny --output runs/golden
	rm -rf tests/golden/*/ runs/golden/figures/measurements/guard_speed
	cp -R runs/golden/figures/measurements/. tests/golden
	cd tests && ../$(BIN)/python -c "import conftest, json; from test_golden import GOLDEN, untrained; (GOLDEN / 'untrained.json').write_text(json.dumps(untrained(), indent=1) + chr(10))"

test: export TQDM_DISABLE := 1
test: export HF_HUB_DISABLE_PROGRESS_BARS := 1
test: $(INSTALLED)  ## unit tests, every notebook at tiny scale, every committed notebook as it stands
	@echo '== 1 of 3: unit tests'
	$(BIN)/python -m pytest -n auto --dist loadscope -m 'not notebooks' tests
	@echo '== 2 of 3: every notebook at tiny scale and on a small random checkpoint, from an empty cache'
	$(BIN)/python -m pytest -n 2 --dist loadfile -m notebooks -v tests
	@echo '== 3 of 3: the committed notebooks, run again and compared (about 4 minutes more the first time, to raise an organism)'
	$(BIN)/python -c 'from ssah_core.organism import raise_organism; raise_organism()'
	env -u MPLBACKEND $(BIN)/python -m pytest -n 2 --dist loadscope -v -p no:cacheprovider \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=1800 notebooks/*.ipynb

# Chromium is the machine's own (`apt install chromium`, or SSAH_CHROMIUM names one); playwright drives it.
test-browser: $(BROWSER_INSTALLED) site  ## open every notebook, exercise and page of the site in a real browser: half an hour
	env -u MPLBACKEND $(BIN)/python -m pytest -v tests/browser/notebooks.py tests/browser/site_pages.py

# Times are of this machine, idle; ratios are what is compared.
bench: $(INSTALLED)  ## time what matters against what it cannot do without: an hour, idle (BENCH="scoring freezing" COMPARE=1 to fail on what is slower)
	$(BIN)/python -m tests.benchmarks $(call WORDS,BENCH) $(if $(value COMPARE),--compare)

# The scale that `SCALE ?=` sets is that of runs, which would take days here.
faults: $(INSTALLED)  ## kill, fill up, damage and stop runs, and see that nothing is lost: hours (FAULTS="kill disk" NOTEBOOKS="00 03" SCALE=tiny)
	$(BIN)/python -m tests.faults $(call WORDS,FAULTS) --scale $(if $(filter file,$(origin SCALE)),tiny,$(call GIVEN,SCALE)) $(CHOSEN)

paper: $(INSTALLED)  ## plan a run on a checkpoint, then run NOTEBOOKS or all, if nothing is missing (MODEL=... UNALIGNED=... DTYPE=... SEEDS=1 NAME=...)
	@$(CHECK_MODEL)
	$(BIN)/python -m ssah_core.planning $(call GIVEN,MODEL) --gpus $(call GIVEN,GPUS) $(if $(value DTYPE),--dtype $(call GIVEN,DTYPE)) --data
	$(if $(value DTYPE),SSAH_DTYPE=$(call GIVEN,DTYPE)) $(BIN)/python -m ssah_core.runner.execute --scale paper \
		--seeds $(call QUOTED,$(or $(value SEEDS),1)) -p model $(call GIVEN,MODEL) \
		$(if $(value UNALIGNED),-p unaligned $(call GIVEN,UNALIGNED)) $(CHOICE)

rehearse: $(INSTALLED)  ## try a checkpoint's shape on random weights, from its config alone (MODEL=...)
	@$(CHECK_MODEL)
	$(BIN)/python -m ssah_core.planning $(call GIVEN,MODEL) --rehearse

# A kernel named python3 in the user's home is another Python's.
lab: export JUPYTER_PREFER_ENV_PATH := 1
lab: $(INSTALLED)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(ALLOW_ROOT)

student: $(INSTALLED)  ## write the exercises without their solutions into student/
	$(BIN)/python -m ssah_core.checks student

site: $(SITE_INSTALLED)  ## build a site of notebooks, report, glossary and API into site/_build/html, and check it
	$(BIN)/python site/gather.py
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --conf-dir site \
		--doctree-dir site/_build/doctrees site/_build/source site/_build/html
	$(BIN)/python site/check.py site/_build/html

figures: $(INSTALLED)  ## draw every figure again from its record; no model is needed
	$(BIN)/python -m ssah_core.plots

report: $(INSTALLED)  ## write paper_repro.md from the records
	$(BIN)/python -m ssah_core.records.report

audit: $(INSTALLED)  ## ask what is known against the pinned versions, and see that their licences are accepted (network)
	$(BIN)/python tests/audit.py

lock:  ## renew requirements.lock (TORCH=2.13.0 is the torch it pins)
	@$(CHECK_PYTHON)
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --upgrade pip
	.venv-lock/bin/pip install $(call QUOTED,torch==$(value TORCH)) $(OLDER) '.[notebooks,test,peft]' setuptools wheel
	.venv-lock/bin/pip freeze --all --exclude pip --exclude ssah > .venv-lock/frozen
	{ sed -n '/^#/p' requirements.lock; sed -e '/^nvidia-/d;/^cuda-/d;/^triton==/d' -e 's/+[^=]*$$//' .venv-lock/frozen; } \
		> .venv-lock/requirements.lock
	mv .venv-lock/requirements.lock requirements.lock
	rm -rf .venv-lock build

clean:  ## remove .venv and the caches in this folder; the organisms stay
	rm -rf .venv .venv-lock build dist site/_build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf notebooks/.ipynb_checkpoints

# The stamp comes last: an environment without one was interrupted, and is made anew.
$(INSTALLED): requirements.lock pyproject.toml
	@test -f $@ || { $(CHECK_PYTHON); rm -rf .venv; }
	test -d .venv || $(PYTHON) -m venv .venv
	rm -f $@
	$(INSTALL_LOCKED)
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	@touch $@

# What the site is built with, beside the pinned versions, which stay as they are.
$(SITE_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --constraint requirements.lock --no-build-isolation --editable '.[site]'
	@touch $@

$(BROWSER_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --constraint requirements.lock --no-build-isolation --editable '.[browser]'
	@touch $@
