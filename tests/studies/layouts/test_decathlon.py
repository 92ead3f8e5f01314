from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import ConfigurationError, DatasetError
from scripts.studies.integrity import check_dataset
from scripts.studies.layout import read_dataset
from scripts.studies.layouts.decathlon import convert_decathlon

MODALITIES = {"0": "T2", "1": "delayed", "2": "pre", "3": "arterial", "4": "portal venous"}
ORDER = (2, 3, 4, 1)
LABELS = {"0": "background", "1": "liver", "2": "hcc", "3": "hemangioma"}


@pytest.fixture
def decathlon(tmp_path, anatomy, save, oblique):
    """A Decathlon folder: five modalities in one 4D file, phases not in order, three training cases, one test."""
    root = tmp_path / "Task11_Lesions"
    training = []
    for number, value in enumerate((2, 3, 0)):
        image, lesion = anatomy(number)
        stacked = np.stack([image[0] // 3, image[3], image[0], image[1], image[2]], axis=-1)
        name = f"lesion_{number:03d}.nii.gz"
        save(stacked, root / "imagesTr" / name, oblique)
        liver = (image[2] > 230).astype(np.uint8)
        save(np.where(lesion > 0, np.uint8(value or 1), liver), root / "labelsTr" / name, oblique)
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    image, _ = anatomy(9)
    stacked = np.stack([image[0] // 3, image[3], image[0], image[1], image[2]], axis=-1)
    save(stacked, root / "imagesTs/lesion_900.nii.gz", oblique)
    # macOS leaves such files in the archives; only the lists count.
    (root / "imagesTr/._lesion_000.nii.gz").write_bytes(b"Mac OS X")
    write(root, training=training, test=["./imagesTs/lesion_900.nii.gz"])
    return root


def write(root, *, training, test=(), modality=None, labels=None, **more):
    content = {
        "name": "Lesions",
        "tensorImageSize": "4D",
        "modality": MODALITIES if modality is None else modality,
        "labels": LABELS if labels is None else labels,
        "numTraining": len(training),
        "numTest": len(test),
        "training": training,
        "test": list(test),
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content | more))


def change(root, **content):
    file = root / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | content))


# Wrong input first.


def test_a_folder_without_a_description_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"dataset.json: no such file\. Give the folder"):
        convert_decathlon(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(("content", "word"), [("{", "not readable as JSON"), ("[]", "but a list")])
def test_a_description_that_is_none_is_refused(tmp_path, content, word):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match=word):
        convert_decathlon(tmp_path, tmp_path / "out")


def test_all_faults_of_the_description_come_at_once(decathlon, tmp_path):
    change(
        decathlon,
        modality={"0": "MRI", "1": "pre", "2": "arterial", "3": "late arterial"},
        labels={"0": "background", "1": "cancer", "both": [1, 2]},
        training=[
            {"image": "a.nii.gz"},
            {"label": "b.nii.gz"},
            {"image": "c/x y.nii.gz", "label": "l"},
            {"image": "d/one.nii.gz", "label": "l"},
            {"image": "e/one.nii.gz", "label": "l"},
        ],
        test={"image": "a"},
    )
    with pytest.raises(DatasetError) as raised:
        convert_decathlon(decathlon, tmp_path / "out")
    message = str(raised.value)
    assert "dataset.json: 10 fault(s), nothing is written" in message
    assert "2 modalities are the arterial phase among 0 'MRI', 1 'pre', 2 'arterial', 3 'late arterial'" in message
    assert "no modality is the portal_venous phase" in message
    assert "no modality is the delayed phase" in message
    assert '--phase_names \'{"0": "delayed"}\'' in message
    assert "labels: 'cancer' is none of background, hemangioma, hcc, liver" in message
    assert '--label_names \'{"cancer": "hcc"}\'' in message
    assert "labels: 'both': [1, 2] gives no single value" in message
    assert "training entry 1: names no label file" in message
    assert "training entry 2: names no image" in message
    assert "training entry 3: its file name cannot name a case" in message
    assert "training entry 5: a second case called one" in message
    assert "test: is no list" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("modality", ["MRI", {"1": "pre"}, {"pre": "0"}, []])
def test_modalities_that_are_not_numbered_are_refused(decathlon, tmp_path, modality):
    change(decathlon, modality=modality)
    with pytest.raises(DatasetError, match='Number the modalities from "0"'):
        convert_decathlon(decathlon, tmp_path / "out")


def test_wrong_overrides_are_refused(decathlon, tmp_path):
    with pytest.raises(ConfigurationError, match=r"phase_names is .*'portal'.*must give one of pre, arterial"):
        convert_decathlon(decathlon, tmp_path / "out", phase_names={"T2": "portal"})
    with pytest.raises(ConfigurationError, match="label_names is 'hcc'"):
        convert_decathlon(decathlon, tmp_path / "out", label_names="hcc")
    with pytest.raises(DatasetError, match=r"no modality is called T7.*\n.*no label is called tumor"):
        convert_decathlon(decathlon, tmp_path / "out", phase_names={"T7": "pre"}, label_names={"tumor": "hcc"})


def test_bad_cases_are_left_out_and_the_rest_imported(decathlon, tmp_path, save, oblique, imported, anatomy):
    image, _ = anatomy()
    (decathlon / "imagesTr/lesion_000.nii.gz").unlink()
    save(image.transpose(1, 2, 3, 0), decathlon / "imagesTr/lesion_002.nii.gz", oblique)
    truncated = decathlon / "labelsTr/lesion_001.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    convert_decathlon(decathlon, tmp_path / "out")
    rows = imported(tmp_path / "out")
    assert [case for case, row in rows.items() if row["taken"] == "yes"] == ["lesion_900"]
    assert rows["lesion_000"]["remarks"].startswith("image: cannot be read")
    assert rows["lesion_001"]["remarks"].startswith("label: truncated gzip")
    assert rows["lesion_002"]["remarks"].startswith("image: shape (24, 20, 10, 4), but the dataset has 5 modalities")


def test_values_and_voxels_that_make_no_sense_leave_a_case_out(decathlon, tmp_path, save, oblique, imported, anatomy):
    image, lesion = anatomy()
    save(lesion * np.uint8(7), decathlon / "labelsTr/lesion_000.nii.gz", oblique)
    stacked = np.stack([*image, image[0]], axis=-1).astype(np.float32)
    stacked[3, 4, 5, 3] = np.nan
    save(stacked, decathlon / "imagesTr/lesion_001.nii.gz", oblique)
    stacked[..., 3] = 5
    save(stacked, decathlon / "imagesTr/lesion_002.nii.gz", oblique)
    convert_decathlon(decathlon, tmp_path / "out")
    rows = imported(tmp_path / "out")
    assert "holds the value(s) 7" in rows["lesion_000"]["remarks"]
    assert rows["lesion_001"]["remarks"].startswith("arterial: voxels that are NaN")
    assert rows["lesion_002"]["remarks"].startswith("arterial: constant volume")


# Behaviour.


def check_phases(case, image, affine):
    for phase, file in enumerate(case.phase_files):
        stored = nib.load(file)
        np.testing.assert_array_equal(np.asarray(stored.dataobj), image[phase])
        np.testing.assert_allclose(stored.affine, affine, atol=1e-5)


def test_modalities_become_phases_and_labels_classes(decathlon, tmp_path, anatomy, oblique):
    convert_decathlon(decathlon, tmp_path / "out")
    cases = {case.case: case for case in read_dataset(tmp_path / "out")}
    assert {name: case.tumour_class for name, case in cases.items()} == {
        "lesion_000": "hcc",
        "lesion_001": "hemangioma",
        "lesion_002": "none",
        "lesion_900": "",
    }
    for number in range(3):
        image, lesion = anatomy(number)
        case = cases[f"lesion_{number:03d}"]
        check_phases(case, image, oblique)
        label = np.asarray(nib.load(case.label_file).dataobj)
        np.testing.assert_array_equal(label, lesion * (2, 1, 0)[number])
        liver = np.asarray(nib.load(case.liver_file).dataobj)
        np.testing.assert_array_equal(liver, (image[2] > 230) | (lesion > 0))
    assert (cases["lesion_900"].split, cases["lesion_900"].label_file) == ("test", None)
    check_phases(cases["lesion_900"], anatomy(9)[0], oblique)


def test_one_file_a_modality_as_monai_lists_them(tmp_path, anatomy, save, oblique):
    root = tmp_path / "in"
    image, lesion = anatomy()
    names = ("pre", "arterial", "portal", "delayed")
    for folder in ("P1", "P2"):
        for name, phase in zip(names, image, strict=True):
            save(phase, root / folder / f"{name}.nii.gz", oblique)
        save(lesion, root / folder / "seg.nii.gz", oblique)
    for name, phase in zip(names, image, strict=True):
        save(phase, root / "flat" / f"P3_{name}.nii.gz", oblique)
    lists = {
        "training": [{"image": [f"P1/{name}.nii.gz" for name in names], "label": "P1/seg.nii.gz"}],
        "validation": [{"image": [f"P2/{name}.nii.gz" for name in names], "label": "P2/seg.nii.gz"}],
        "test": [{"image": [f"flat/P3_{name}.nii.gz" for name in names]}],
    }
    write(root, **lists, modality=dict(zip("0123", names, strict=True)), labels={"background": 0, "lesion": 1})
    convert_decathlon(root, tmp_path / "out", label_names={"lesion": "hcc"})
    cases = {case.case: case for case in read_dataset(tmp_path / "out")}
    assert {name: (case.split, case.tumour_class) for name, case in cases.items()} == {
        "P1": ("train", "hcc"),
        "P2": ("val", "hcc"),
        "P3": ("test", ""),
    }
    for case in cases.values():
        check_phases(case, image, oblique)


def test_nnunets_first_version_names_cases_without_the_modality(tmp_path, anatomy, save, oblique):
    root = tmp_path / "in"
    image, lesion = anatomy()
    for channel, phase in enumerate(image):
        save(phase, root / f"imagesTr/P1_{channel:04d}.nii.gz", oblique)
    save(lesion, root / "labelsTr/P1.nii.gz", oblique)
    entry = {"image": "./imagesTr/P1.nii.gz", "label": "./labelsTr/P1.nii.gz"}
    modality = {"0": "MRI", "1": "MRI", "2": "MRI", "3": "MRI"}
    write(root, training=[entry], modality=modality, labels={"0": "background", "1": "hemangioma"})
    phases = dict(zip("0123", ("pre", "arterial", "portal_venous", "delayed"), strict=True))
    convert_decathlon(root, tmp_path / "out", phase_names=phases)
    case = read_dataset(tmp_path / "out")[0]
    assert (case.case, case.tumour_class) == ("P1", "hemangioma")
    check_phases(case, image, oblique)
    assert check_dataset(tmp_path / "out") == []
