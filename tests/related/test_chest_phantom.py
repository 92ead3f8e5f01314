"""The chest phantom: what it draws, where it writes it, and that a seed decides all of it."""

import csv
import hashlib
from collections import Counter

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from scripts.domain.errors import ConfigurationError
from scripts.related.chest_classes import CLASSES
from scripts.related.chest_layout import boxes_of, read_chest
from scripts.related.chest_phantom import make_chest_phantom, write_chest_cohort
from scripts.related.chest_subject import ChestGrid, make_subject

GRID = ChestGrid((96, 80, 8))


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((0, 1), "subjects is 0; it must be a whole number of at least 1"),
        ((2.5, 1), "subjects is 2.5"),
        ((3, -1), "seed is -1"),
        ((3, True), "seed is True"),
    ],
)
def test_wrong_numbers_are_refused(arguments, reason, tmp_path):
    with pytest.raises(ConfigurationError, match=reason):
        write_chest_cohort(*arguments, tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 2), (16, 64, 8), "big"])
def test_wrong_shapes_are_refused(shape, tmp_path):
    with pytest.raises(ConfigurationError, match="shape"):
        write_chest_cohort(3, 1, tmp_path / "new", shape=shape)


def test_a_folder_with_something_in_it_is_refused_in_one_line(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is not an empty folder"):
        make_chest_phantom(3, 1, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_same_seed_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("one", 4), ("two", 4), ("three", 5)):
        write_chest_cohort(3, seed, tmp_path / name, shape=(48, 40, 4))
    one, two, three = (contents(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    images = [{digest for name, digest in each.items() if name.startswith("images")} for each in (one, three)]
    assert not images[0] & images[1]


def test_a_subject_does_not_depend_on_how_many_follow(tmp_path):
    for name, subjects in (("few", 3), ("many", 6)):
        write_chest_cohort(subjects, 4, tmp_path / name, shape=(48, 40, 4))
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert few["images/chest-4-1.nii.gz"] == many["images/chest-4-1.nii.gz"]


def test_classes_splits_and_folds_are_dealt_in_proportion(tmp_path):
    write_chest_cohort(30, 4, tmp_path / "new", shape=(32, 32, 4))
    cases = read_chest(tmp_path / "new")
    assert Counter(case.subject_class for case in cases) == dict.fromkeys(CLASSES, 10)
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        assert Counter(c.subject_class for c in cases if c.split == split) == dict.fromkeys(CLASSES, count)
    folds = Counter(case.fold for case in cases if case.split != "test")
    assert set(folds) == set(range(5))
    assert max(folds.values()) - min(folds.values()) <= 1
    assert all(case.fold is None for case in cases if case.split == "test")


def test_three_subjects_have_all_splits_and_nine_all_folds(chest_dir):
    cases = read_chest(chest_dir)
    assert Counter(case.split for case in cases) == {"train": 3, "val": 3, "test": 3}
    assert {case.fold for case in cases} == {None, 0, 1, 2, 3, 4}


@pytest.mark.parametrize("kind", CLASSES)
def test_lesions_lie_in_the_lungs_and_look_as_their_class(kind):
    subject = make_subject(np.random.default_rng(3), kind, GRID)
    inside = subject.lesions > 0
    assert inside.any() == (kind != "normal")
    assert subject.image.dtype == np.int16
    assert subject.image.min() >= -1000
    if kind == "normal":
        return
    values = np.median(subject.image[inside])
    assert -100 < values < 120 if kind == "nodule" else -720 < values < -400
    # Around a lesion there is lung, somewhere.
    ring = ndimage.binary_dilation(inside, np.ones((5, 5, 1))) & ~inside
    assert np.quantile(subject.image[ring], 0.2) < -700


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_nodules_keep_apart(seed):
    subject = make_subject(np.random.default_rng(seed), "nodule", GRID)
    numbers = np.unique(subject.lesions)[1:]
    assert len(numbers) > 1
    for number in numbers:
        around = ndimage.binary_dilation(subject.lesions == number, np.ones((3, 3, 3)))
        assert set(np.unique(subject.lesions[around])) <= {0, number}


def test_boxes_by_hand():
    lesions = np.zeros((6, 5, 3), dtype=np.uint8)
    lesions[1:3, 2:5, 1] = 4
    lesions[5, 0, 1] = 2
    lesions[:, :, 2] = 3
    assert boxes_of(lesions) == [(1, 2, (5, 0, 6, 1)), (1, 4, (1, 2, 3, 5)), (2, 3, (0, 0, 6, 5))]


def test_the_grid_is_in_mm_and_its_pixels_are_square():
    assert ChestGrid((256, 200, 10)).spacing_mm == (1.5, 1.5, 8.0)
    centre = ChestGrid((5, 3, 3)).affine @ [2, 1, 1, 1]
    np.testing.assert_allclose(centre[:3], 0)


def test_the_tables_say_what_the_masks_show(chest_dir):
    for case in read_chest(chest_dir):
        mask = np.asarray(nib.load(case.lesions_file).dataobj)
        assert mask.shape == nib.load(case.image_file).shape == (64, 48, 4)
        with_lesion = mask.any(axis=(0, 1))
        assert [name != "normal" for name in case.slice_classes] == with_lesion.tolist()
        for box in case.lesions:
            rows, columns = np.nonzero(mask[:, :, box.slice_index] == box.lesion)
            assert box.box == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
            assert box.lesion_class == case.subject_class


def test_the_command(run, tmp_path):
    out = tmp_path / "new"
    run(["chest_phantom.yaml"], "make_chest_phantom", subjects=3, seed=2, output_dir=out, shape=[48, 40, 4])
    with (out / "subjects.csv").open(newline="") as file:
        assert [row["class"] for row in csv.DictReader(file)] == list(CLASSES)
