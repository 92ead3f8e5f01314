"""The way to ITK and back: what is missing, places in the world, and parity with SciPy."""

import sys

import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial.transform import Rotation

from scripts.domain.errors import ConfigurationError
from scripts.studies import elastix
from scripts.studies.elastix import Motion, NoMotionFoundError, find_motion, require_itk, thread_count, to_itk

SHAPE = (24, 20, 10)


def oblique(spacing_mm=(3.0, 2.5, 6.0), angles_deg=(12.0, -8.0, 20.0), origin_mm=(31.0, -47.0, 83.0), flips=(-1, 1, 1)):
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(np.multiply(flips, spacing_mm))
    affine[:3, 3] = origin_mm
    return affine


@pytest.fixture
def volume():
    noise = np.random.default_rng(0).random(SHAPE, np.float32)
    return ndimage.gaussian_filter(noise, 1.5) * 1000


def test_without_itk_the_message_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "itk", None)
    with pytest.raises(ConfigurationError, match=r"pip install -r requirements/dicom\.txt.*--register none"):
        require_itk()


def test_itk_without_elastix_is_told_likewise(monkeypatch):
    monkeypatch.setitem(sys.modules, "itk", type(sys)("itk"))
    with pytest.raises(ConfigurationError, match="needs itk-elastix"):
        require_itk()


def test_two_volumes_apart_have_no_motion(volume, capfd):
    far = oblique(origin_mm=(3000.0, 0.0, 0.0))
    with pytest.raises(NoMotionFoundError):
        find_motion(volume, far, volume, oblique(), body=np.ones(SHAPE, bool))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_every_voxel_keeps_its_place_and_value(volume, flips):
    affine = oblique(flips=flips)
    image = to_itk(volume, affine)
    for index in ((0, 0, 0), (3, 17, 8), (23, 1, 4)):
        x, y, z = apply_affine(affine, index)
        np.testing.assert_allclose(tuple(image.TransformIndexToPhysicalPoint(index)), (-x, -y, z), atol=1e-4)
        assert image.GetPixel(index) == pytest.approx(float(volume[index]))


def test_a_translation_is_given_back_in_ras(volume):
    motion = translation(4.0, -3.0, 7.0)
    field_mm = motion.displacement_mm((5, 4, 3), oblique())
    assert field_mm.shape == (5, 4, 3, 3)
    assert field_mm.dtype == np.float32
    np.testing.assert_allclose(field_mm, np.broadcast_to((4.0, -3.0, 7.0), field_mm.shape), atol=1e-4)


def test_shrinking_takes_means_over_blocks_in_their_place():
    """3 x 0.75 mm along x and y, 4 mm along z: blocks of 2 x 2 x 1, the odd row left out."""
    volume = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    affine = oblique(spacing_mm=(0.75, 0.75, 4.0))
    for order in "CF":
        shrunk, blocks = elastix._shrunk(np.asarray(volume, order=order), affine)
        np.testing.assert_allclose(shrunk, volume[:4].reshape(2, 2, 2, 2, 3).mean(axis=(1, 3)))
        np.testing.assert_allclose(apply_affine(blocks, (0, 0, 0)), apply_affine(affine, (0.5, 0.5, 0.0)))
        np.testing.assert_allclose(apply_affine(blocks, (1, 1, 2)), apply_affine(affine, (2.5, 2.5, 2.0)))
    assert elastix._shrunk(volume, oblique())[0].shape == volume.shape


@pytest.mark.parametrize(("asked", "expected"), [("1", 1), ("0", None), ("many", None), ("4096", None), (None, None)])
def test_threads_are_at_most_the_cores(monkeypatch, asked, expected):
    monkeypatch.setattr(elastix.os, "sched_getaffinity", lambda _: {0, 1, 5})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert thread_count() == (3 if expected is None else expected)


def translation(*ras_mm):
    import itk

    transform = itk.TranslationTransform[itk.D, 3].New()
    transform.SetOffset([-ras_mm[0], -ras_mm[1], ras_mm[2]])
    return Motion(transform)
