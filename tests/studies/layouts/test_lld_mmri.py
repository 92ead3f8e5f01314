from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import DatasetError
from scripts.domain.phases import NOMINAL_TIMES_S
from scripts.studies.integrity import check_dataset
from scripts.studies.layout import read_dataset
from scripts.studies.layouts.conversion import ConversionOptions
from scripts.studies.layouts.lld_mmri import convert_lld_mmri
from scripts.studies.reading import read_study

CATEGORY_INFO = {
    "Hepatic_hemangioma": 0,
    "Intrahepatic_cholangiocarcinoma": 1,
    "Hepatic_abscess": 2,
    "Hepatic_metastasis": 3,
    "Hepatic_cyst": 4,
    "FOCAL_NODULAR_HYPERPLASIA": 5,
    "Hepatocellular_carcinoma": 6,
    "Benign": [0, 2, 4, 5],
    "Malignant": [1, 3, 6],
}
DYNAMIC = ("C-pre", "C+A", "C+V", "C+Delay")
OTHERS = ("T2WI", "In Phase")
SHAPE = (40, 32, 20)
SPACING_MM = (2.0, 2.5, 4.0)
ORIGIN_LPS_MM = (-45.0, -30.0, -60.0)
COARSE = (28, 25, 12)


class Release:
    """A small release of LLD-MMRI in the making; both kinds share the annotation."""

    def __init__(self, root, anatomy, save, *, original):
        self.root = root
        self.original = original
        self.anatomy = anatomy
        self.save = save
        self.patients = {}

    def add(self, patient, category, *, seed=0, file_name=None, lesions=1, labels=True, change=None):
        """A patient; ``change(phase, volume, label, entry)`` returns volume and label and may edit the entry."""
        image, lesion = self.anatomy(seed, SHAPE)
        coarse, _ = self.anatomy(seed, COARSE)
        entries = []
        for number, phase in enumerate((*OTHERS, *DYNAMIC)):
            dynamic = phase in DYNAMIC
            volume = image[DYNAMIC.index(phase)] if dynamic else coarse[0]
            label = lesion if dynamic else np.zeros(COARSE, np.uint8)
            entry = self._entry(phase, number, category, lesions, volume, label)
            if change is not None:
                volume, label = change(phase, volume, label, entry)
            entries.append(entry)
            self._write(file_name or patient, category, entry, volume, label if labels else None)
        self.patients[patient] = entries
        return self

    def write(self):
        """Write the annotation and return the release's folder."""
        content = {"Category_info": CATEGORY_INFO, "Annotation_info": self.patients}
        file = self.root / ("labels/Annotation.json" if self.original else "LLD_MMRI_Annotation.json")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
        return self.root

    def tables(self, **contents):
        """Label tables of the challenge, with DOS line ends."""
        folder = self.root / "classification_dataset/labels"
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in contents.items():
            (folder / f"{name}.txt").write_bytes("\r\n".join(lines).encode())

    def _entry(self, phase, number, category, lesions, volume, label):
        slices = np.flatnonzero(label.any(axis=(0, 1)))
        box = {"x_min": 1, "y_min": 1, "x_max": 9, "y_max": 9}
        boxes = [{"slice_idx": int(z), "area": 64} | box for z in slices]
        extent = {"z_min": int(slices.min()), "z_max": int(slices.max())} | box if len(slices) else None
        bbox = {"2D_box": boxes, "3D_box": extent if self.original else None}
        lesion = {str(index): {"category": category, "bbox": bbox} for index in range(lesions)}
        span = [size * mm for size, mm in zip(SHAPE, SPACING_MM, strict=True)]
        spacing = [mm / size for mm, size in zip(span, volume.shape, strict=True)]
        return {
            "studyUID": "1.2.840.1",
            "seriesUID": f"1.2.840.1.{number}",
            "phase": phase,
            "pixel_spacing": spacing[:2],
            "slice_spacing": spacing[2],
            "slice_thickness": spacing[2] * 2,
            "origin": list(ORIGIN_LPS_MM),
            "annotation": {"num_targets": lesions, "lesion": lesion},
        }

    def _write(self, name, category, entry, volume, label):
        # Headers with spacing 1 and origin 0, as the releases have them.
        if self.original:
            self.save(volume, self.root / "images" / name / entry["studyUID"] / f"{entry['seriesUID']}.nii.gz")
            return
        stem = f"{name}_{category}_{entry['phase'].replace(' ', '')}"
        self.save(volume, self.root / "images" / f"{stem}_0000.nii.gz")
        if label is not None:
            self.save(label, self.root / "labels" / f"{stem}.nii.gz")


@pytest.fixture
def medsam(tmp_path, anatomy, save):
    """A release like MedSAM2's: flat files, masks, 3D boxes null."""
    return Release(tmp_path / "LLD-MMRI-MedSAM2", anatomy, save, original=False)


@pytest.fixture
def original(tmp_path, anatomy, save):
    """A release like the first: folders by identifiers, boxes and no masks."""
    return Release(tmp_path / "LLD-MMRI", anatomy, save, original=True)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def expected_affine():
    affine = np.diag([-SPACING_MM[0], -SPACING_MM[1], SPACING_MM[2], 1.0])
    affine[:3, 3] = np.array(ORIGIN_LPS_MM) * (-1, -1, 1)
    return affine


# Wrong input first.


def test_a_folder_that_is_no_release_is_refused(tmp_path, out, medsam):
    with pytest.raises(DatasetError, match=r"none of LLD_MMRI_Annotation.json"):
        convert_lld_mmri(tmp_path, out)
    medsam.patients["MR1"] = []
    with pytest.raises(DatasetError, match="no folder images in it"):
        convert_lld_mmri(medsam.write(), out)


def test_a_wrong_label_table_is_refused_before_any_image_is_read(medsam, out):
    root = medsam.add("MR1", 6).write()
    medsam.tables(labels=["MR1 6", "MR2 hcc"])
    with pytest.raises(DatasetError, match=r"labels.txt line 2: not '<patient> <category>'"):
        convert_lld_mmri(root, out)
    assert not out.exists()


def test_what_is_left_out_and_why(medsam, out, imported):
    def another_shape(phase, volume, label, entry):
        return volume, label[..., :-1] if phase == "C+A" else label

    def empty(phase, volume, label, entry):
        return volume, label * 0

    def no_geometry(phase, volume, label, entry):
        if phase == "C+V":
            del entry["origin"]
        return volume, label

    def far_away(phase, volume, label, entry):
        if phase == "C+Delay":
            entry["origin"][2] += 60
        return volume, label

    medsam.add("MR1", 6).add("MR2", 4, seed=2).add("MR3", 6, seed=3).add("MR4", 6, change=another_shape)
    medsam.add("MR5", 6, change=empty).add("MR6", 6, change=no_geometry).add("MR7", 6, change=far_away)
    medsam.add("MR8", -1).add("MR9", 6).add("MR-9", 6).add("MR10", 0).add("MR11", 6)
    lesions = medsam.patients["MR11"][3]["annotation"]["lesion"]
    lesions["1"] = lesions["0"] | {"category": 0}
    (medsam.root / "images/MR3_6_C+V_0000.nii.gz").unlink()
    damaged = medsam.root / "images/MR10_0_C-pre_0000.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:300])
    convert_lld_mmri(medsam.write(), out)
    rows = imported(out)
    assert [name for name, row in rows.items() if row["taken"] == "yes"] == ["MR1"]
    reasons = {name: row["remarks"] for name, row in rows.items()}
    assert reasons["MR2"] == "category Hepatic_cyst, neither hemangioma nor HCC."
    assert reasons["MR3"] == "C+V: no image file."
    assert reasons["MR4"] == "label: shape (40, 32, 19), but its image's is (40, 32, 20)."
    assert reasons["MR5"] == "label: empty, but the annotation has a lesion."
    assert reasons["MR6"].startswith("C+V: the annotation lacks")
    assert reasons["MR7"] == "only 5 of 20 slices are in all phases; delayed do not reach the others."
    assert reasons["MR8"] == "its category is withheld."
    assert reasons["MR9"] == "its digits name no single patient of the annotation."
    assert reasons["MR10"].startswith("C-pre: truncated gzip")
    assert reasons["MR11"].startswith("lesions of several categories")


def test_a_table_that_contradicts_the_annotation_leaves_the_case_out(medsam, out, imported):
    root = medsam.add("MR1", 6).add("MR2", 6, seed=1).write()
    medsam.tables(labels=["MR1 0", "MR2 6", "MR77 6"])
    convert_lld_mmri(root, out)
    rows = imported(out)
    assert rows["MR1"]["remarks"] == "category 0 in a label table, but 6 in the annotation."
    assert rows["MR77"]["remarks"] == "in a label table, but not in the annotation."
    assert rows["MR2"]["taken"] == "yes"


# Behaviour.


def test_masks_and_geometry_of_the_medsam_release(medsam, out, anatomy, imported):
    medsam.add("MR62668", 6).add("MR-400851", 0, seed=1, lesions=2).add("MR5", 4)
    convert_lld_mmri(medsam.write(), out)
    cases = {case.case: case for case in read_dataset(out)}
    assert {name: case.tumour_class for name, case in cases.items()} == {"MR62668": "hcc", "MR400851": "hemangioma"}
    for seed, (case, value) in enumerate(((cases["MR62668"], 2), (cases["MR400851"], 1))):
        image, lesion = anatomy(seed, SHAPE)
        for phase, file in enumerate(case.phase_files):
            np.testing.assert_array_equal(np.asarray(nib.load(file).dataobj), image[phase])
            np.testing.assert_allclose(nib.load(file).affine, expected_affine(), atol=1e-4)
        np.testing.assert_array_equal(np.asarray(nib.load(case.label_file).dataobj), lesion * value)
        assert (case.site, case.times_s) == ("LLD-MMRI", NOMINAL_TIMES_S)
        assert imported(out)[case.case]["remarks"] == ""
    assert check_dataset(out) == []


def test_a_lesion_is_where_the_annotation_puts_it_in_mm(medsam, out, anatomy):
    convert_lld_mmri(medsam.add("MR1", 6).write(), out)
    study = read_study(read_dataset(out)[0])
    _, lesion = anatomy(0, SHAPE)
    index = np.argwhere(lesion).mean(axis=0)
    lps_mm = np.array(ORIGIN_LPS_MM) + index * SPACING_MM
    found = nib.affines.apply_affine(study.affine, np.argwhere(study.label).mean(axis=0))
    np.testing.assert_allclose(found, lps_mm * (-1, -1, 1), atol=1e-3)


def test_files_and_annotation_may_write_the_hyphen_differently(medsam, original, out, tmp_path):
    for release, folder in ((medsam, out), (original, tmp_path / "out2")):
        release.add("MR-1", 6, file_name="MR1").add("MR2", 0, seed=1, file_name="MR-2")
        convert_lld_mmri(release.write(), folder)
        assert {case.case for case in read_dataset(folder)} == {"MR1", "MR2"}


def test_the_original_release_has_boxes_and_so_no_labels(original, out, anatomy, imported):
    original.add("MR1", 6).add("MR2", 0, seed=1).add("MR3", 2, seed=2)
    root = original.write()
    original.tables(labels=["MR1 6", "MR3 2"], labels_val_inaccessible=["MR2 -1"])
    convert_lld_mmri(root, out)
    first, second = read_dataset(out)
    assert [(case.case, case.tumour_class, case.split) for case in (first, second)] == [
        ("MR1", "hcc", "test"),
        ("MR2", "hemangioma", "test"),
    ]
    assert first.label_file is second.label_file is None
    assert imported(out)["MR1"]["remarks"] == "no mask"
    image, _ = anatomy(1, SHAPE)
    np.testing.assert_array_equal(np.asarray(nib.load(second.phase_files[2]).dataobj), image[2])
    assert check_dataset(out) == []


def test_the_challenges_tables_give_splits_and_folds(medsam, out):
    for number in range(4):
        medsam.add(f"MR-{number}", 6, seed=number)
    root = medsam.write()
    medsam.tables(
        labels=["MR0 6", "MR1 6"],
        labels_val_inaccessible=["MR2 -1"],
        val_fold1=["MR1 6"],
        val_fold2=["MR0 6"],
        val_fold3=["MR2 6"],
    )
    convert_lld_mmri(root, out)
    assert {case.case: (case.split, case.fold) for case in read_dataset(out)} == {
        "MR0": ("train", 1),
        "MR1": ("train", 0),
        "MR2": ("val", 2),
        "MR3": ("test", None),
    }


def test_a_category_only_in_a_table(medsam, out):
    root = medsam.add("MR1", -1).write()
    medsam.tables(labels=["MR1 6"])
    convert_lld_mmri(root, out)
    assert read_dataset(out)[0].tumour_class == "hcc"


def test_without_tables_splits_are_dealt(medsam, out):
    for number in range(3):
        medsam.add(f"MR{number}", 6, seed=number)
    convert_lld_mmri(medsam.write(), out, options=ConversionOptions(split_shares=[0.34, 0.33, 0.33]))
    assert sorted(case.split for case in read_dataset(out)) == ["test", "train", "val"]


def test_a_phase_on_another_grid_comes_onto_the_arterial_one(medsam, out, anatomy, imported):
    coarse, _ = anatomy(0, COARSE)

    def change(phase, volume, label, entry):
        if phase != "C+Delay":
            return volume, label
        span = [size * mm for size, mm in zip(SHAPE, SPACING_MM, strict=True)]
        spacing = [mm / size for mm, size in zip(span, COARSE, strict=True)]
        entry["pixel_spacing"], entry["slice_spacing"] = spacing[:2], spacing[2]
        return coarse[3], np.zeros(COARSE, np.uint8)

    convert_lld_mmri(medsam.add("MR1", 6, change=change).write(), out)
    case = read_dataset(out)[0]
    assert "delayed resampled" in imported(out)["MR1"]["remarks"]
    delayed = np.asarray(nib.load(case.phase_files[3]).dataobj)
    fine, _ = anatomy(0, SHAPE)
    assert delayed.shape == SHAPE
    assert np.corrcoef(delayed.ravel(), fine[3].ravel())[0, 1] > 0.9
    assert check_dataset(out) == []


@pytest.mark.parametrize("reversed_phase", ["C+V", "C+A"])
def test_a_phase_in_reverse_slice_order_is_put_right_and_said(reversed_phase, medsam, out, anatomy, imported):
    def change(phase, volume, label, entry):
        if phase != reversed_phase:
            return volume, label
        for lesion in entry["annotation"]["lesion"].values():
            for box in lesion["bbox"]["2D_box"]:
                box["slice_idx"] = SHAPE[2] - 1 - box["slice_idx"]
        return volume[..., ::-1], label[..., ::-1]

    convert_lld_mmri(medsam.add("MR1", 6, change=change).write(), out)
    name = {"C+V": "portal_venous", "C+A": "arterial"}[reversed_phase]
    assert imported(out)["MR1"]["remarks"] == f"{name} was stored in reverse slice order: put right"
    case = read_dataset(out)[0]
    image, lesion = anatomy(0, SHAPE)
    for phase, file in enumerate(case.phase_files):
        np.testing.assert_array_equal(np.asarray(nib.load(file).dataobj), image[phase])
    np.testing.assert_array_equal(np.asarray(nib.load(case.label_file).dataobj), lesion * 2)


def test_a_mask_that_fits_its_boxes_only_in_reverse(medsam, out, anatomy, imported):
    def change(phase, volume, label, entry):
        return volume, label[..., ::-1] if phase == "C+A" else label

    convert_lld_mmri(medsam.add("MR1", 6, change=change).write(), out)
    assert imported(out)["MR1"]["remarks"] == "label reversed in z to fit its boxes"
    _, lesion = anatomy(0, SHAPE)
    np.testing.assert_array_equal(np.asarray(nib.load(read_dataset(out)[0].label_file).dataobj), lesion * 2)


def test_a_mask_outside_its_boxes_is_said(medsam, out, imported):
    def change(phase, volume, label, entry):
        for lesion in entry["annotation"]["lesion"].values():
            lesion["bbox"]["2D_box"] = [{"slice_idx": 0}, {"slice_idx": SHAPE[2] - 1}]
        return volume, label

    convert_lld_mmri(medsam.add("MR1", 6, change=change).write(), out)
    assert imported(out)["MR1"]["remarks"] == "label outside its boxes' slices"


def test_phases_that_lie_apart_or_on_another_scale_are_said(medsam, out, imported):
    def change(phase, volume, label, entry):
        if phase == "C-pre":
            entry["origin"][2] += 24
        return volume // 2 if phase == "C+A" else volume, label

    convert_lld_mmri(medsam.add("MR1", 6, change=change).write(), out)
    remarks = imported(out)["MR1"]["remarks"].split("; ")
    assert "pre lies 24 mm from arterial in z: use register" in remarks
    assert any(remark.startswith("arterial at 0.5") for remark in remarks)
    assert "6 of 20 slices cut, which pre do not reach" in remarks
    # Taken all the same: what looks like swapped phases is one with another scale.
    assert remarks[-1].startswith("integrity check: swapped phase: where the image changes most, delayed is brighter")
