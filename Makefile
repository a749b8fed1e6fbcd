# make demo   the main job on a simulated street: report in demo/report.html
# make test   all tests
# make clean  remove what these made
# Both make .venv on first use; later runs start at once. Machines with a ROS install: see README, "On a ROS machine".

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check

# Where torch comes from: TORCH_INDEX where given; else the CPU build where there is no NVIDIA GPU and its index answers;
# else whatever pip is configured to find (PyPI's build has CUDA).
CPU_TORCH_INDEX := https://download.pytorch.org/whl/cpu
ASK_CPU_TORCH = import urllib.request as r; r.urlopen('$(CPU_TORCH_INDEX)/torch/', timeout=5)
FIND_CPU_TORCH = $(shell command -v nvidia-smi > /dev/null || ! $(PYTHON) -c "$(ASK_CPU_TORCH)" 2> /dev/null \
	|| echo $(CPU_TORCH_INDEX))
TORCH_INDEX ?= $(FIND_CPU_TORCH)

.PHONY: demo test clean

demo: $(VENV)/.demo
	$(VENV)/bin/geoseg demo

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest

$(VENV)/.demo: EXTRAS := ros,sim
$(VENV)/.test: EXTRAS := ros,sim,train,test
$(VENV)/.demo $(VENV)/.test: setup.py constraints.txt $(VENV)/.torch
	$(PIP) install --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@

$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt $(addprefix --extra-index-url ,$(TORCH_INDEX)) torch
	touch $@

clean:
	rm -rf $(VENV) demo build install log .pytest_cache .hypothesis *.egg-info
