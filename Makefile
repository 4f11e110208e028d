# Needs Python 3.11 or 3.12 with pip, and a package index; everything else lands in .venv.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: run test test-cluster cluster-packages browser-packages clean

# Containers often tell Python to write no bytecode: then every process would compile torch and all else anew.
export PYTHONDONTWRITEBYTECODE :=

PY := .venv/bin/python
READY := .venv/.ready

# The first interpreter that runs and is of a version we support; a shim without one behind it does not run.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
    "$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo "$$p" && break; done)

run: $(READY)
	@# Exit code 1 says that some samples failed: a result with its rows, not an error of make.
	$(PY) -m scripts.run method=instructedit ratio=0.5,0.7,0.9 -m || test $$? -eq 1

test: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -n auto --maxprocesses 4

# Sweeps through a real Slurm of one node on this machine: 8 minutes on two cores. Its daemons end with the tests.
test-cluster: $(READY) cluster-packages
	$(PY) -m pytest -v tests/cluster

SLURM := munge slurmctld slurmd slurm-client
cluster-packages:
	@PATH="$$PATH:/usr/sbin"; command -v munged && command -v slurmctld && command -v slurmd && command -v sbatch && exit; \
	$(call install,test-cluster,$(SLURM))

# Without a Chromium, the tests in tests/browser are skipped.
browser-packages:
	@command -v chromium || command -v chromium-browser || command -v google-chrome && exit; \
	$(call install,tests/browser,chromium)

# The lines of a recipe that install Debian packages: who needs them, and their names.
define install
command -v apt-get || { echo "$(1) needs $(2), and there is no apt-get to install that with" >&2; exit 2; }; \
	test "$$(id -u)" = 0 || sudo=sudo; \
	install() { $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(2); }; \
	install || { $$sudo apt-get update -qq && install; }
endef

# What a run has made stays: results/ is never removed here.
clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Where the interpreter lacks ensurepip (Debian without python3-venv), its own pip fills the environment.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, and none is on the PATH; or name one: make PYTHON=..." >&2; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv .venv 2>/dev/null || $(PYTHON) -m venv --without-pip .venv
	@if $(PY) -m pip --version >/dev/null 2>&1; then $(PY) -m pip install -q -c constraints.txt uv; \
	else $(PYTHON) -m pip --python $(PY) install -q -c constraints.txt uv; fi
	$(PY) -m uv pip install --python $(PY) -c constraints.txt -e '.[dev]'
	@touch $@
