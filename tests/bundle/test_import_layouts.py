"""The commands that turn other layouts into ours, as they are typed."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from scripts.studies.layout import read_dataset

CONFIG = "import_layouts.yaml"
PHASES = ("pre", "arterial", "portal_venous", "delayed")


@pytest.fixture
def volumes(tmp_path):
    """Four phases and a label of two subjects as NIfTI files, and a table of them."""
    rng = np.random.default_rng(0)
    affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    lines = ["case,pre,arterial,portal_venous,delayed,label,class"]
    for number in range(2):
        folder = tmp_path / "in" / f"p{number}"
        folder.mkdir(parents=True)
        for phase in PHASES:
            nib.save(
                nib.Nifti1Image(rng.integers(50, 90, (12, 10, 6)).astype(np.int16), affine), folder / f"{phase}.nii"
            )
        label = np.zeros((12, 10, 6), np.uint8)
        label[3:6, 4:6, 2:4] = 1
        nib.save(nib.Nifti1Image(label, affine), folder / "label.nii")
        paths = ",".join(f"p{number}/{name}.nii" for name in (*PHASES, "label"))
        lines.append(f"s{number},{paths},hcc")
    (tmp_path / "in/table.csv").write_text("\n".join(lines))
    return tmp_path / "in"


def refused(finished, *words):
    assert finished.code != 0
    assert "Traceback" not in finished.stdout + finished.stderr
    message = finished.stderr[finished.stderr.index("error: ") :]
    for word in words:
        assert word in message


@pytest.mark.parametrize("run_id", ["import_decathlon", "import_lld_mmri", "import_csv"])
def test_without_input_it_says_what_to_give(run_id, bundle, tmp_path):
    finished = bundle.run(run_id, CONFIG, {"output_dir": tmp_path / "out"})
    refused(finished, "Give the")
    assert not (tmp_path / "out").exists()


def test_faults_of_a_table_are_listed_and_nothing_is_written(bundle, volumes, tmp_path):
    table = volumes / "table.csv"
    table.write_text(table.read_text().replace("p0/pre.nii", "p0/absent.nii").replace(",hcc", ",HCC"))
    finished = bundle.run("import_csv", CONFIG, {"table": table, "output_dir": tmp_path / "out"})
    refused(finished, "3 fault(s)", "line 2: pre: no such file", "line 2: unknown class 'HCC'", "line 3: unknown class")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_csv(bundle, volumes, tmp_path):
    overrides = {"table": volumes / "table.csv", "output_dir": tmp_path / "out", "split_shares": "[0.5,0.5,0]"}
    finished = bundle.run("import_csv", CONFIG, overrides | {"register": "none"})
    assert finished.code == 0, finished.stderr
    assert "2 of 2 cases taken" in finished.stdout
    assert "import csv: 100%" in finished.stderr
    assert sorted(case.split for case in read_dataset(tmp_path / "out")) == ["train", "val"]


def test_a_decathlon_dataset(bundle, volumes, tmp_path):
    entries = [
        {"image": [f"p{number}/{name}.nii" for name in PHASES], "label": f"p{number}/label.nii"} for number in range(2)
    ]
    content = {
        "modality": {"0": "T1 a", "1": "T1 b", "2": "venous", "3": "late"},
        "labels": {"0": "background", "1": "tumour"},
        "training": entries,
    }
    (volumes / "dataset.json").write_text(json.dumps(content))
    overrides = {
        "input_dir": volumes,
        "output_dir": tmp_path / "out",
        "phase_names": '{"T1 a": "pre", "1": "arterial"}',
        "label_names": '{"tumour": "hemangioma"}',
    }
    finished = bundle.run("import_decathlon", CONFIG, overrides)
    assert finished.code == 0, finished.stderr
    assert [case.tumour_class for case in read_dataset(tmp_path / "out")] == ["hemangioma"] * 2


def test_lld_mmri(bundle, volumes, tmp_path):
    root = tmp_path / "lld"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    entries = []
    for phase, name in zip(PHASES, ("C-pre", "C+A", "C+V", "C+Delay"), strict=True):
        (volumes / f"p0/{phase}.nii").rename(root / f"images/MR-1_6_{name}_0000.nii.gz")
        geometry = {"pixel_spacing": [2, 2], "slice_spacing": 5, "slice_thickness": 5, "origin": [0, 0, 0]}
        boxes = {"2D_box": [{"slice_idx": 2}, {"slice_idx": 3}], "3D_box": None}
        lesion = {"num_targets": 1, "lesion": {"0": {"category": 6, "bbox": boxes}}}
        entries.append({"studyUID": "1", "seriesUID": "2", "phase": name, "annotation": lesion} | geometry)
    (volumes / "p0/label.nii").rename(root / "labels/MR-1_6_C+A.nii.gz")
    categories = {"Hepatic_hemangioma": 0, "Hepatocellular_carcinoma": 6}
    content = {"Category_info": categories, "Annotation_info": {"MR-1": entries}}
    (root / "LLD_MMRI_Annotation.json").write_text(json.dumps(content))
    finished = bundle.run("import_lld_mmri", CONFIG, {"input_dir": root, "output_dir": tmp_path / "out"})
    assert finished.code == 0, finished.stderr
    assert [(case.case, case.tumour_class) for case in read_dataset(tmp_path / "out")] == [("MR1", "hcc")]
