# Every target makes its own environment: a fresh machine needs only Python 3.11 (or 3.12) and make.
PYTHON ?= python3
BIN := .venv/bin
PY := $(BIN)/python

.PHONY: setup setup-nnunet demo test test-app screenshots serve serve-dicom ohif rollback lint bench bench-app grid-quick clean

setup: .venv/dev.done  ## everything, for development and training

setup-nnunet: .venv-nnunet/nnunet.done  ## nnU-Net v2 in an environment of its own, for the arm nnunet: 6.4 GB

demo: .venv/core.done  ## phantom studies in, masks + curves + diagnoses out: runs/demo/report.html
	$(PY) -m monai.bundle run demo --config_file "['bundle/configs/evaluate.yaml','bundle/configs/demo.yaml']" $(if $(EXTRA),--extra "$(EXTRA)")

test: .venv/dev.done  ## all tests that need no GPU, at most 20 minutes on 2 cores
	OMP_NUM_THREADS=1 $(PY) -m pytest -m "not gpu" --ignore=tests/apps -n 2 --dist loadfile $(ARGS)

test-app: .venv/dev.done ohif  ## the annotation server with its real parts: Orthanc, OHIF in Chromium, MONAI Label's client
	MTINET_REQUIRE_BROWSER=1 MTINET_REQUIRE_DICOM_TOOLS=1 $(PY) -m pytest -m "not gpu" tests/apps -n 2 --dist loadfile $(ARGS)

screenshots: .venv/dev.done ohif  ## the pictures of the viewer in apps/mtinet_label/docs, taken anew by its tests
	MTINET_REQUIRE_BROWSER=1 MTINET_SCREENSHOTS=apps/mtinet_label/docs $(PY) -m pytest tests/apps/mtinet_label/viewer/test_viewer_browser.py $(ARGS)

serve: .venv/label.done  ## annotate phantom studies from a folder: 3D Slicer, REST, the result page; ARGS="--port 8000"
	$(PY) apps/mtinet_label/serve.py $(ARGS)

serve-dicom: .venv/label.done ohif  ## Orthanc with phantom studies, and OHIF
	$(PY) apps/mtinet_label/serve.py --dicom $(ARGS)

ohif: runs/ohif/package/dist/index.html  ## the viewer, fetched once by npm

runs/ohif/package/dist/index.html:
	mkdir -p runs/ohif
	cd runs/ohif && npm pack --silent @ohif/app@3.13.2 && tar -xzf ohif-app-3.13.2.tgz && rm ohif-app-3.13.2.tgz
	touch $@

rollback: .venv/label.done  ## serve the weights before the last promoted ones; ARGS as in apps/mtinet_label/README.md
	$(PY) apps/mtinet_label/rollback.py $(ARGS)

lint: .venv/dev.done
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench: .venv/core.done  ## one JSON line a measurement
	@$(PY) -m scripts.bench

grid-quick: .venv/dev.done  ## every arm but nnU-Net on tiny data for one epoch, then the tables: runs/grid_quick/tables
	$(PY) -m monai.bundle run grid --config_file "['bundle/configs/grid.yaml','bundle/configs/grid_quick.yaml']" $(ARGS)
	$(PY) -m monai.bundle run tables --config_file bundle/configs/tables.yaml --grid_dir runs/grid_quick/grid --dataset_dir runs/grid_quick/phantom --output_dir runs/grid_quick/tables

bench-app: .venv/label.done  ## the annotation server under load; one JSON line a measurement
	@$(PY) apps/mtinet_label/bench.py $(ARGS)

clean:
	rm -rf .venv .venv-nnunet .pytest_cache .ruff_cache

.venv/core.done: requirements/core.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/core.txt
	$(PY) -c "import pathlib, site; pathlib.Path(site.getsitepackages()[0], 'mtinet.pth').write_text(str(pathlib.Path('bundle').resolve()))"
	touch $@

.venv/label.done: requirements/label.txt requirements/dicom.txt .venv/core.done
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/label.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps monailabel==0.8.5 pydicom-seg==0.4.1
	touch $@

.venv/dev.done: requirements/dev.txt requirements/grid.txt .venv/label.done
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	touch $@

.venv-nnunet/nnunet.done: requirements/nnunet.txt
	$(PYTHON) -m venv .venv-nnunet
	.venv-nnunet/bin/pip install --quiet --disable-pip-version-check -r requirements/nnunet.txt
	touch $@
