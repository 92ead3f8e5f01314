"""Fig. 3: which masks are shown, and of whom."""

import numpy as np
import pytest

from scripts.domain.errors import StudyError
from scripts.experiments.tables import examples as module
from scripts.experiments.tables.arms import Arm
from scripts.experiments.tables.examples import draw_examples, kept_masks, read_examples
from scripts.experiments.tables.runs import read_grid
from scripts.results.figures import as_seen
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study, write_mask

ARMS = [Arm(key, key.upper(), ()) for key in ("unet", "vgg", "mti_net")]


@pytest.fixture
def keep(grid, dataset_dir):
    """Keep a study's own label, shifted, in a run's folder."""
    cases = {case.case: case for case in read_dataset(dataset_dir)}

    def write(folder, name, shift):
        study = read_study(cases[name])
        write_mask(np.roll(study.label, shift, axis=0), study, folder / name / "mask.nii.gz")

    return write


def test_a_system_that_was_given_the_mask_drew_none(grid, row, keep):
    keep(grid.write("vgg", [row("liver-01", dice=None)]), "liver-01", 0)
    keep(grid.write("unet", [row("liver-01")]), "liver-01", 0)
    assert list(kept_masks(ARMS, read_grid(grid.root))["liver-01"]) == ["unet"]


def test_the_first_run_that_kept_one_is_shown_with_its_own_dice(grid, row, keep, dataset_dir):
    grid.write("unet", [row("liver-01", dice=0.1)])
    keep(grid.write("unet", [row("liver-01", dice=0.6)], seed=1), "liver-01", 2)
    keep(grid.write("unet", [row("liver-01", dice=0.7)], seed=2), "liver-01", 5)
    (example,) = read_examples(ARMS, read_grid(grid.root), dataset_dir)
    mask, dice = example.masks["unet"]
    assert dice == 0.6
    assert np.array_equal(mask, np.roll(example.study.label > 0, 2, axis=0))


def test_subjects_that_most_systems_drew_come_first(grid, row, keep, dataset_dir, monkeypatch):
    for arm, names in (("unet", ("liver-01", "liver-02")), ("mti_net", ("liver-02",))):
        folder = grid.write(arm, [row("liver-01"), row("liver-02")])
        for name in names:
            keep(folder, name, 1)
    examples = read_examples(ARMS, read_grid(grid.root), dataset_dir)
    assert [example.study.case for example in examples] == ["liver-02", "liver-01"]
    figure = draw_examples(examples, ARMS)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["UNET", "MTI_NET"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["Dice 0.80", "Dice 0.80", "Dice 0.80", "no mask kept"]
    monkeypatch.setattr(module, "MAX_SUBJECTS", 1)
    examples = read_examples(ARMS, read_grid(grid.root), dataset_dir)
    assert [example.study.case for example in examples] == ["liver-02"]


def test_the_slice_with_the_largest_lesion_is_drawn_as_it_is_seen(grid, row, keep, dataset_dir):
    for arm, shift in (("unet", 5), ("mti_net", 0)):
        keep(grid.write(arm, [row("liver-01")]), "liver-01", shift)
    examples = read_examples(ARMS, read_grid(grid.root), dataset_dir)
    study = examples[0].study
    axes, _ = draw_examples(examples, ARMS).axes
    areas = (study.label > 0).sum(axis=(0, 1))
    assert study.slice_axis == 2
    whole = as_seen(study.image[1][:, :, areas.argmax()])
    shown = axes.images[0].get_array()
    windows = np.lib.stride_tricks.sliding_window_view(whole, shown.shape)
    assert (windows == shown).all(axis=(2, 3)).any()
    assert axes.get_aspect() == pytest.approx(study.spacing_mm[1] / study.spacing_mm[0])
    # The mask is shifted by five voxels along X, which is seen from side to side.
    truth, predicted = (middle(outline) for outline in axes.collections)
    assert np.abs(predicted - truth) == pytest.approx([5.0, 0.0])


def middle(outline):
    vertices = np.concatenate([path.vertices for path in outline.get_paths()])
    return (vertices.min(axis=0) + vertices.max(axis=0)) / 2


def test_one_system_alone_is_no_comparison(grid, row, keep, dataset_dir):
    keep(grid.write("unet", [row("liver-01")]), "liver-01", 1)
    assert draw_examples(read_examples(ARMS, read_grid(grid.root), dataset_dir), ARMS) is None


def test_a_damaged_mask_is_named(grid, row, keep, dataset_dir):
    folder = grid.write("unet", [row("liver-01")])
    keep(folder, "liver-01", 1)
    (folder / "liver-01" / "mask.nii.gz").write_bytes(b"no image")
    with pytest.raises(StudyError, match=r"liver-01/mask\.nii\.gz: not a NIfTI file"):
        read_examples(ARMS, read_grid(grid.root), dataset_dir)
