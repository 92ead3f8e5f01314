from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import DatasetError
from scripts.studies.integrity import check, check_dataset, require_valid

CASE = "liver-01"
ARTERIAL = f"imagesTr/{CASE}_0001.nii.gz"
PORTAL = f"imagesTr/{CASE}_0002.nii.gz"
LABEL = f"labelsTr/{CASE}.nii.gz"


def _rewrite(file: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    image = nib.load(file)
    data = change(np.asanyarray(image.dataobj).copy())
    nib.save(nib.Nifti1Image(data, image.affine if affine is None else affine), file)


def _change(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda root: _rewrite(root / name, change)


def _put(index: tuple[int, ...], value: float, dtype: type) -> Callable[[np.ndarray], np.ndarray]:
    def change(data: np.ndarray) -> np.ndarray:
        data = data.astype(dtype)
        data[index] = value
        return data

    return change


def _edit_table(root: Path, edit: Callable[[list[dict[str, str]]], None]) -> None:
    with (root / "subjects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    edit(rows)
    with (root / "subjects.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _set(row: int, **values: str) -> Callable[[Path], None]:
    return lambda root: _edit_table(root, lambda rows: rows[row].update({k.rstrip("_"): v for k, v in values.items()}))


def _swap_files(first: str, second: str) -> Callable[[Path], None]:
    def swap(root: Path) -> None:
        (root / first).rename(root / "aside")
        (root / second).rename(root / first)
        (root / "aside").rename(root / second)

    return swap


def _shift_affine(root: Path) -> None:
    affine = nib.load(root / PORTAL).affine.copy()
    affine[0, 3] += 0.02
    _rewrite(root / PORTAL, lambda data: data, affine)


def _shift_label(root: Path) -> None:
    affine = nib.load(root / LABEL).affine.copy()
    affine[2, 3] += 6.0
    _rewrite(root / LABEL, lambda data: data, affine)


def _truncate(root: Path) -> None:
    content = (root / ARTERIAL).read_bytes()
    (root / ARTERIAL).write_bytes(content[: len(content) // 2])


def _corrupt(root: Path) -> None:
    content = bytearray((root / ARTERIAL).read_bytes())
    content[-6] ^= 0xFF  # the gzip checksum
    (root / ARTERIAL).write_bytes(bytes(content))


def _zero_spacing(root: Path) -> None:
    content = bytearray(gzip.decompress((root / ARTERIAL).read_bytes()))
    content[88:92] = np.float32(0.0).tobytes()  # pixdim[3]
    (root / ARTERIAL).write_bytes(gzip.compress(bytes(content)))


def _zero_column(root: Path) -> None:
    content = bytearray(gzip.decompress((root / ARTERIAL).read_bytes()))
    for row in range(3):
        start = 280 + 16 * row + 8  # third column of srow_x, srow_y, srow_z
        content[start : start + 4] = np.float32(0.0).tobytes()
    (root / ARTERIAL).write_bytes(gzip.compress(bytes(content)))


def _rgb(root: Path) -> None:
    data = np.zeros((96, 80, 20), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(data, nib.load(root / ARTERIAL).affine), root / ARTERIAL)


def _copy_to_test(root: Path) -> None:
    for file in (root / "imagesTr").glob(f"{CASE}_*"):
        shutil.copy(file, root / "imagesTs")


def _copied_subject(root: Path) -> None:
    for phase in range(4):
        shutil.copy(root / f"imagesTr/{CASE}_{phase:04d}.nii.gz", root / f"imagesTs/liver-05_{phase:04d}.nii.gz")


def _empty_table(root: Path) -> None:
    (root / "subjects.csv").write_text("case,class\nliver-01,hcc\n")


def _label_names(root: Path) -> None:
    names = {"0": "pre", "1": "arterial", "2": "portal_venous", "3": "delayed"}
    labels = {"background": 0, "hcc": 1, "hemangioma": 2}
    (root / "dataset.json").write_text(json.dumps({"channel_names": names, "labels": labels}))


def _channel_names(root: Path) -> None:
    names = {"0": "arterial", "1": "pre", "2": "portal_venous", "3": "delayed"}
    labels = {"background": 0, "hemangioma": 1, "hcc": 2}
    (root / "dataset.json").write_text(json.dumps({"channel_names": names, "labels": labels}))


FAULTS = {
    "missing phase": (lambda root: (root / PORTAL).unlink(), f"{CASE}: .*{PORTAL}: missing phase portal_venous. Add"),
    "missing label": (lambda root: (root / LABEL).unlink(), f"{CASE}: .*{LABEL}: missing label. Add"),
    "pre and arterial swapped": (
        _swap_files(f"imagesTr/{CASE}_0000.nii.gz", ARTERIAL),
        f"{CASE}_0000.nii.gz: swapped phase: .*pre is brighter than arterial.*_0000 to _0003",
    ),
    "pre and delayed swapped": (
        _swap_files(f"imagesTr/{CASE}_0000.nii.gz", f"imagesTr/{CASE}_0003.nii.gz"),
        "swapped phase: .*pre is brighter than delayed",
    ),
    "arterial and delayed swapped": (
        _swap_files(ARTERIAL, f"imagesTr/{CASE}_0003.nii.gz"),
        f"{CASE}_0003.nii.gz: swapped phase: .*delayed is brighter than arterial",
    ),
    "times swapped": (_set(0, t_arterial="80"), f"{CASE}: .*subjects.csv: swapped phase: the times do not increase"),
    "channel names swapped": (_channel_names, "dataset.json: swapped or missing phase: channel_names is"),
    "shape": (
        _change(PORTAL, lambda d: d[:, :-2]),
        r"_0002.nii.gz: shape \(96, 78, 20\) disagrees with \(96, 80, 20\)",
    ),
    "affine": (_shift_affine, r"_0002.nii.gz: affine disagrees .* by up to 0\.02\. Resample it onto"),
    "label affine": (_shift_label, f"{LABEL}: affine disagrees with that of {CASE}_0001"),
    "label shape": (_change(LABEL, lambda d: d[1:]), f"{LABEL}: shape .* disagrees"),
    "liver shape": (_change(f"liver/{CASE}.nii.gz", lambda d: d[1:]), f"liver/{CASE}.nii.gz: shape .* disagrees"),
    "empty mask": (_change(LABEL, np.zeros_like), f"{LABEL}: empty mask, but the case's class is hcc. Draw the lesion"),
    "label value": (_change(LABEL, _put((3, 4, 5), 7, np.uint8)), f"{LABEL}: label values outside 0-2: 7. Use 0"),
    "negative label": (_change(LABEL, _put((3, 4, 5), -128, np.int8)), "label values outside 0-2: -128"),
    "label fraction": (_change(LABEL, _put((3, 4, 5), 0.5, np.float32)), "label values outside 0-2: 0.5"),
    "label of other class": (_change(LABEL, lambda d: d // 2), "values of hemangioma contradict the case's class hcc"),
    "mixed label": (_change(LABEL, _put((3, 4, 5), 1, np.uint8)), "values of hemangioma contradict .* class hcc"),
    "label of healthy case": (_set(0, class_="none"), "label values of hcc contradict the case's class none"),
    "nan": (_change(ARTERIAL, _put((3, 4, 5), np.nan, np.float32)), f"{ARTERIAL}: 1 voxels are NaN or infinite. Repl"),
    "infinite": (_change(ARTERIAL, _put((3, 4, 5), np.inf, np.float32)), f"{ARTERIAL}: 1 voxels are NaN or infinite"),
    "constant": (_change(ARTERIAL, lambda d: np.full_like(d, 5)), f"{ARTERIAL}: constant volume: every voxel is 5"),
    "two splits in the table": (
        lambda root: _edit_table(root, lambda rows: rows.append(rows[0] | {"split": "val"})),
        f"{CASE}: .*subjects.csv: the subject is in two splits",
    ),
    "two splits on disk": (_copy_to_test, f"{CASE}: .*imagesTr and imagesTs, so it is in two splits. Keep one"),
    "one subject under two ids": (_copied_subject, r"liver-05: .*the same images as case liver-01: .*\(train, test\)"),
    "duplicate id": (
        lambda root: _edit_table(root, lambda rows: rows.append(rows[0])),
        f"{CASE}: .*subjects.csv: duplicate id: listed 2 times. Keep one row per case",
    ),
    "unknown class": (_set(0, class_="cyst"), f"{CASE}: .*: unknown class 'cyst'. Use one of hemangioma, hcc, none"),
    "unknown split": (_set(0, split="training"), "unknown split 'training'. Use one of train, val, test"),
    "fold": (_set(0, fold="5"), "fold '5' is not 0-4. Use 0-4"),
    "fold of a test case": (_set(4, fold="1"), "liver-05: .*fold '1' on a test case. Leave"),
    "time": (_set(0, t_delayed="late"), "t_delayed 'late' is not a number. Write seconds"),
    "case id": (_set(0, case="../liver-01"), "case id '../liver-01' cannot name a file"),
    "columns": (_empty_table, "subjects.csv: lacks the column.* split, fold"),
    "complex": (_change(ARTERIAL, lambda d: d.astype(np.complex64)), f"{ARTERIAL}: voxels are complex64, not real"),
    "rgb": (_rgb, f"{ARTERIAL}: voxels are RGB, not real numbers. Save a magnitude image"),
    "2D": (_change(ARTERIAL, lambda d: d[:, :, 5]), rf"{ARTERIAL}: 2D image of shape \(96, 80\), .* Give one 3D file"),
    "one slice": (_change(ARTERIAL, lambda d: d[:, :, 5:6]), rf"{ARTERIAL}: 2D image of shape \(96, 80, 1\)"),
    "4D": (_change(ARTERIAL, lambda d: np.stack([d, d], -1)), rf"{ARTERIAL}: 4D image of shape \(96, 80, 20, 2\)"),
    "5D": (
        _change(ARTERIAL, lambda d: np.stack([d, d], -1)[..., None, :]),
        rf"{ARTERIAL}: 5D image of shape \(96, 80, 20, 1, 2\)",
    ),
    "truncated": (_truncate, f"{ARTERIAL}: truncated gzip: the file ends too early. Copy or convert it again"),
    "corrupted": (_corrupt, f"{ARTERIAL}: damaged gzip .*Copy or convert it again"),
    "label truncated": (
        lambda root: (root / LABEL).write_bytes((root / LABEL).read_bytes()[:200]),
        f"{CASE}: .*{LABEL}: truncated gzip",
    ),
    "description of another kind": (
        lambda root: (root / "dataset.json").write_text('{"modality": {"0": "MR"}}'),
        "dataset.json: not a dataset description of nnU-Net v2",
    ),
    "label names": (_label_names, "dataset.json: labels is .*Bring label values and labels to"),
    "not NIfTI": (lambda root: (root / ARTERIAL).write_bytes(b"PK" * 400), f"{ARTERIAL}: not a NIfTI file. Convert"),
    "empty file": (lambda root: (root / ARTERIAL).write_bytes(b""), f"{ARTERIAL}: not a NIfTI file"),
    "spacing 0": (_zero_spacing, f"{ARTERIAL}: voxel spacing 3 x 2.5 x 0 mm. Write the true spacing"),
    "affine of a zero column": (_zero_column, f"{ARTERIAL}: its affine cannot be inverted"),
    "orphan": (
        lambda root: shutil.copy(root / ARTERIAL, root / "imagesTr/stray_0000.nii.gz"),
        "stray_0000.nii.gz: orphan file: no listed case has it.*Add the case to subjects.csv",
    ),
    "fifth phase": (
        lambda root: shutil.copy(root / ARTERIAL, root / f"imagesTr/{CASE}_0004.nii.gz"),
        f"{CASE}_0004.nii.gz: orphan file",
    ),
}


def _state(folder: Path) -> dict[Path, tuple[int, int]]:
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_file_and_fix_and_nothing_is_written(
    dataset_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking, expected = FAULTS[name]
    breaking(dataset_dir)
    monkeypatch.chdir(dataset_dir.parent)
    before = _state(dataset_dir.parent)
    with pytest.raises(DatasetError, match=expected):
        require_valid(dataset_dir)
    assert _state(dataset_dir.parent) == before


def test_every_fault_is_reported_at_once(dataset_dir: Path) -> None:
    together = ("missing phase", "nan", "label value", "unknown class", "fold of a test case", "orphan")
    for name in together:
        FAULTS[name][0](dataset_dir)
    with pytest.raises(DatasetError) as raised:
        require_valid(dataset_dir)
    for name in together:
        assert raised.match(FAULTS[name][1])
    assert f"{len(check_dataset(dataset_dir))} fault(s)" in str(raised.value)
    assert len(str(raised.value).splitlines()) == len(check_dataset(dataset_dir)) + 1


def test_the_run_id_exits_with_the_message_and_without_success(dataset_dir: Path) -> None:
    (dataset_dir / PORTAL).unlink()
    with pytest.raises(SystemExit, match="missing phase portal_venous") as raised:
        check(str(dataset_dir))
    assert raised.value.code not in (0, None)


def test_no_folder_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent: no such folder\. Give the dataset folder"):
        check_dataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"no case in it\. Put images into imagesTr"):
        require_valid(tmp_path)


def test_a_sound_dataset_has_no_fault(dataset_dir: Path, capsys: pytest.CaptureFixture) -> None:
    assert check_dataset(dataset_dir) == []
    check(str(dataset_dir))
    assert "no fault found" in capsys.readouterr().out


def test_a_sound_dataset_without_a_table_has_no_fault(dataset_dir: Path) -> None:
    (dataset_dir / "subjects.csv").unlink()
    assert check_dataset(dataset_dir) == []


def test_test_cases_may_lack_a_label(dataset_dir: Path) -> None:
    (dataset_dir / "labelsTs" / "liver-05.nii.gz").unlink()
    assert check_dataset(dataset_dir) == []


def test_other_files_beside_the_contract_are_left_alone(dataset_dir: Path) -> None:
    (dataset_dir / "README.md").write_text("notes")
    (dataset_dir / "imagesTr" / ".DS_Store").write_bytes(b"\0")
    (dataset_dir / "cache").mkdir()
    assert check_dataset(dataset_dir) == []


def test_gain_drift_between_phases_is_not_taken_for_a_swap(dataset_dir: Path) -> None:
    _rewrite(dataset_dir / ARTERIAL, lambda data: (data * 0.6).astype(np.int16))
    assert check_dataset(dataset_dir) == []
