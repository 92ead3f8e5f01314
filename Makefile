# Every target makes its own environment: a fresh machine needs only Python 3.11 (or 3.12) and make.
PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python

.PHONY: setup demo test lint bench clean

setup: .venv/dev.done  ## everything, for development and training

demo: .venv/core.done  ## phantom studies in, masks + curves + diagnoses out: runs/demo/report.html
	$(PY) -m monai.bundle run demo --config_file "['bundle/configs/evaluate.yaml','bundle/configs/demo.yaml']" $(if $(EXTRA),--extra "$(EXTRA)")

test: .venv/dev.done  ## all tests that need no GPU, at most 20 minutes on 2 cores
	$(PY) -m pytest -m "not gpu" $(ARGS)

lint: .venv/dev.done
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench: .venv/core.done  ## one JSON line a measurement
	@$(PY) -m scripts.bench

clean:
	rm -rf .venv .pytest_cache .ruff_cache

.venv/core.done: requirements/core.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/core.txt
	$(PY) -c "import pathlib, site; pathlib.Path(site.getsitepackages()[0], 'mtinet.pth').write_text(str(pathlib.Path('bundle').resolve()))"
	touch $@

.venv/label.done: requirements/label.txt requirements/dicom.txt .venv/core.done
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/label.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps monailabel==0.8.5 pydicom-seg==0.4.1
	touch $@

.venv/dev.done: requirements/dev.txt .venv/label.done
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	touch $@
