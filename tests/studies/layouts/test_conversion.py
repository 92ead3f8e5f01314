from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from scripts.domain.errors import ConfigurationError, DatasetError, StudyError
from scripts.studies.integrity import check_dataset
from scripts.studies.layout import read_dataset
from scripts.studies.layouts.conversion import (
    ConversionOptions,
    convert,
    require_folder,
    require_new_folder,
)
from scripts.studies.layouts.source_case import LeftOut, SourceCase, SourceImages, Volume
from scripts.studies.reading import read_study

OPTIONS = ConversionOptions()


@pytest.fixture
def source(anatomy, oblique):
    """``source(case, tumour_class, ...)``: a case from memory."""

    def make(case="a", tumour_class="hcc", *, seed=0, label=True, liver=None, phases=None, **known):
        image, lesion = anatomy(seed)
        value = {"hcc": 2, "hemangioma": 1, "none": 0, "": 2}[tumour_class]
        images = SourceImages(
            tuple(Volume(phase, oblique) for phase in image) if phases is None else phases,
            Volume(lesion * np.uint8(value), oblique) if label is True else label or None,
            liver,
        )
        return SourceCase(case, lambda: images, tumour_class=tumour_class, **known)

    return make


def broken(case):
    def read():
        msg = "arterial: truncated."
        raise StudyError(msg)

    return SourceCase(case, read, tumour_class="hcc")


# Wrong input first.


def test_wrong_options_are_refused():
    with pytest.raises(ConfigurationError, match=r"register is 'affine'"):
        ConversionOptions(register="affine")
    with pytest.raises(ConfigurationError, match="split_shares"):
        ConversionOptions(split_shares=[1, 1])


def test_no_folder_to_read_from(tmp_path):
    with pytest.raises(DatasetError, match=r"no input_dir given. Give the folder that holds dataset.json"):
        require_folder(None, "dataset.json")
    with pytest.raises(DatasetError, match=r"no such folder. Give the folder that holds dataset.json"):
        require_folder(tmp_path / "absent", "dataset.json")


def test_no_folder_to_write_to(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no output_dir given"):
        require_new_folder(None)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not an empty folder"):
        require_new_folder(tmp_path)
    with pytest.raises(ConfigurationError, match="is not an empty folder"):
        require_new_folder(tmp_path / "file")


def test_nothing_is_written_when_no_case_can_be_imported(tmp_path):
    left = [LeftOut("b", "category Hepatic_cyst.")]
    with pytest.raises(DatasetError, match=r"no case could be imported") as raised:
        convert([broken("a")], left, tmp_path / "out", name="test", options=OPTIONS)
    assert "arterial: truncated. (a)" in str(raised.value)
    assert "category Hepatic_cyst. (b)" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_after_an_error_that_no_case_explains(tmp_path, source):
    def read():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        convert([source(), SourceCase("b", read)], [], tmp_path / "out", name="test", options=OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_case_is_left_out_with_its_reason(tmp_path, source, imported, anatomy, oblique):
    image, lesion = anatomy()
    phases = tuple(Volume(phase, oblique) for phase in image)
    other_grid = oblique.copy()
    other_grid[0, 3] += 1
    cases = [
        source("good"),
        broken("broken"),
        source("incomplete", phases=(phases[0], phases[1], None, None)),
        source("elsewhere", label=Volume(lesion * np.uint8(2), other_grid)),
        source("empty", label=Volume(lesion * np.uint8(0), oblique)),
        source("liver", liver=Volume(lesion[..., :5], oblique)),
    ]
    convert(cases, [], tmp_path / "out", name="test", options=OPTIONS)
    rows = imported(tmp_path / "out")
    assert [case for case, row in rows.items() if row["taken"] == "yes"] == ["good"]
    assert rows["broken"]["remarks"] == "arterial: truncated."
    assert rows["incomplete"]["remarks"] == "lacks the phase(s) portal_venous, delayed."
    assert rows["elsewhere"]["remarks"].startswith("label: not on the arterial phase's grid")
    assert rows["empty"]["remarks"].startswith("label: no lesion, but the subject's class is hcc")
    assert rows["liver"]["remarks"].startswith("liver mask: not on the arterial phase's grid (shape (24, 20, 5)")
    names = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert not any(name.startswith(("broken", "incomplete", "elsewhere", "empty", "liver")) for name in names)


# Behaviour.


def test_what_is_written_is_a_sound_dataset(tmp_path, source, oblique, anatomy, capsys):
    cases = [source(f"c{i}", ("hcc", "hemangioma")[i % 2], seed=i, site="north") for i in range(10)]
    cases.append(source("c10", "none", seed=10, split="train", fold=4))
    written = convert(cases, [], tmp_path / "out", name="test", options=OPTIONS)
    assert check_dataset(tmp_path / "out") == []
    read = read_dataset(tmp_path / "out")
    assert read == written
    assert [case.case for case in read] == [f"c{i}" for i in range(11)]
    assert [case.tumour_class for case in read[:2]] == ["hcc", "hemangioma"]
    assert (read[10].split, read[10].fold, read[0].site) == ("train", 4, "north")
    assert {case.split for case in read} == {"train", "val", "test"}
    assert "11 of 11 cases taken" in capsys.readouterr().out
    image, lesion = anatomy(3)
    case = read[3]
    for phase, file in enumerate(case.phase_files):
        stored = nib.load(file)
        np.testing.assert_array_equal(np.asarray(stored.dataobj), image[phase])
        np.testing.assert_allclose(stored.affine, oblique, atol=1e-5)
        assert stored.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(nib.load(case.label_file).dataobj), lesion)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_lesion_is_where_it_was_in_mm(tmp_path, source, anatomy, oblique):
    convert([source()], [], tmp_path / "out", name="test", options=OPTIONS)
    study = read_study(read_dataset(tmp_path / "out")[0])
    _, lesion = anatomy()
    expected = nib.affines.apply_affine(oblique, np.argwhere(lesion).mean(axis=0))
    found = nib.affines.apply_affine(study.affine, np.argwhere(study.label == 2).mean(axis=0))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_slices_that_a_phase_does_not_reach_go_with_their_masks(tmp_path, source, anatomy, oblique, imported):
    image, _ = anatomy()
    lesion = np.zeros(image[0].shape, np.uint8)
    lesion[8:12, 8:12, 1:7] = lesion[8, 8, 7] = 1
    beside = oblique.copy()
    beside[:3, 3] += oblique[:3, 2] * -3
    phases = [Volume(phase, oblique) for phase in image]
    phases[3] = Volume(image[3], beside)
    cut = source(phases=tuple(phases), label=Volume(lesion * 2, oblique))
    convert([cut], [], tmp_path / "out", name="test", options=OPTIONS)
    case = read_dataset(tmp_path / "out")[0]
    assert "3 of 10 slices cut, which delayed do not reach" in imported(tmp_path / "out")["a"]["remarks"]
    assert "1% of the lesion cut with its slices" in imported(tmp_path / "out")["a"]["remarks"]
    label = nib.load(case.label_file)
    np.testing.assert_array_equal(np.asarray(label.dataobj), lesion[..., :7] * 2)
    assert {nib.load(file).shape for file in case.phase_files} == {(24, 20, 7)}
    assert check_dataset(tmp_path / "out") == []


def test_a_lesion_outside_of_a_phase_leaves_the_case_out(tmp_path, source, anatomy, oblique, imported):
    image, lesion = anatomy()
    low = np.zeros_like(lesion)
    low[8:12, 8:12, 0] = 2
    beside = oblique.copy()
    beside[:3, 3] += oblique[:3, 2] * 3
    phases = [Volume(phase, oblique) for phase in image]
    phases[2] = Volume(image[2], beside)
    cut = source("cut", phases=tuple(phases), label=Volume(low, oblique))
    convert([cut, source("whole")], [], tmp_path / "out", name="test", options=OPTIONS)
    reason = "label: 100% of the lesion lies in slices that not all phases reach."
    assert imported(tmp_path / "out")["cut"]["remarks"] == reason


def test_a_case_without_a_mask_is_for_testing(tmp_path, source, imported):
    convert(
        [source("a", label=None, split="train"), source("b", seed=1)], [], tmp_path / "out", name="t", options=OPTIONS
    )
    case = read_dataset(tmp_path / "out")[0]
    assert (case.case, case.split, case.tumour_class, case.label_file) == ("a", "test", "hcc", None)
    assert imported(tmp_path / "out")["a"]["remarks"] == "no mask"
    assert check_dataset(tmp_path / "out") == []


def test_the_class_comes_from_the_label_where_nobody_gives_it(tmp_path, source):
    convert([source("a", "")], [], tmp_path / "out", name="test", options=OPTIONS)
    assert read_dataset(tmp_path / "out")[0].tumour_class == "hcc"


def test_a_case_of_unknown_class_can_be_read(tmp_path, source):
    cases = [source("a", "", label=None, times_s=(0.0, 20.0, 65.0, 200.0), nominal_times=()), source("b")]
    convert(cases, [], tmp_path / "out", name="test", options=OPTIONS)
    case = read_dataset(tmp_path / "out")[0]
    assert (case.case, case.tumour_class, case.split, case.label_file) == ("a", "", "test", None)
    assert case.times_s == (0.0, 20.0, 65.0, 200.0)


def test_the_liver_mask_comes_along(tmp_path, source, anatomy, oblique):
    _, lesion = anatomy()
    convert([source(liver=Volume(lesion, oblique))], [], tmp_path / "out", name="test", options=OPTIONS)
    case = read_dataset(tmp_path / "out")[0]
    np.testing.assert_array_equal(np.asarray(nib.load(case.liver_file).dataobj), lesion)
