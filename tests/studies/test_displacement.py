"""The displacement of a phase: damaged files, motions whose inverse is known, the file as others read it."""

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from scripts.domain.errors import StudyError
from scripts.studies.displacement import FORMAT, NODE_MM, Displacement
from scripts.studies.registration import Registered

SHAPE = (80, 70, 30)
STEPS = (2, 2, 1)
LPS = np.array([-1.0, -1.0, 1.0])


def oblique(spacing_mm=(2.0, 2.2, 5.0), angles_deg=(12.0, -8.0, 20.0), flips=(-1, 1, 1)):
    affine = np.eye(4)
    rotation = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    affine[:3, :3] = rotation @ np.diag(np.multiply(flips, spacing_mm))
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) - 1) / 2
    return affine


def places_of(shape, affine, margin=0.0):
    """Every third voxel's place, with a margin of the grid left out."""
    index = np.moveaxis(np.indices(shape), 0, -1)[::3, ::3, ::3].reshape(-1, 3)
    inside = ((index >= margin * np.array(shape)) & (index <= (1 - margin) * np.array(shape))).all(axis=1)
    return apply_affine(affine, index[inside])


def registered_by(motion, affine, shape=SHAPE, steps=STEPS) -> Registered:
    """What ``register`` would give if it found a motion of places exactly."""
    coarse = np.moveaxis(np.indices(tuple(-(-n // s) for n, s in zip(shape, steps, strict=True))), 0, -1)
    places_mm = apply_affine(affine @ np.diag([*steps, 1.0]), coarse)
    return Registered(
        image=np.zeros(shape, np.float32),
        method="deformable",
        kept=True,
        reason="",
        similarity_before=0.0,
        similarity_after=0.1,
        displacement_mm=(0.0, 0.0),
        covered=1.0,
        field_mm=(motion(places_mm) - places_mm).astype(np.float32),
        steps=steps,
    )


def rigid(places_mm):
    return places_mm @ Rotation.from_euler("xyz", (2.0, -1.5, 3.0), degrees=True).as_matrix().T + (4.0, -6.0, 9.0)


def rigid_back(places_mm):
    return (places_mm - (4.0, -6.0, 9.0)) @ Rotation.from_euler("xyz", (2.0, -1.5, 3.0), degrees=True).as_matrix()


def twist(places_mm, sign=1.0):
    """Turned about the body's axis by an angle that changes along it: up to 9 mm."""
    x, y, z = np.moveaxis(places_mm, -1, 0)
    angle = sign * 0.08 * np.sin(z / 60.0)
    return np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], -1)


def twist_back(places_mm):
    return twist(places_mm, sign=-1.0)


MOTIONS = {"rigid": (rigid, rigid_back, 2e-3), "smooth": (twist, twist_back, 0.1)}


@pytest.fixture(params=MOTIONS)
def motion(request):
    return MOTIONS[request.param]


@pytest.fixture
def written(tmp_path) -> Path:
    file = tmp_path / "displacement.nii.gz"
    Displacement.of(registered_by(twist, oblique()), oblique()).write(file)
    return file


# Wrong files.


def test_no_file_and_no_nifti(tmp_path):
    for name, content in (("absent.nii.gz", None), ("text.nii.gz", b"text")):
        file = tmp_path / name
        if content:
            file.write_bytes(content)
        with pytest.raises(StudyError, match=r"cannot be read\. Import the study again") as refused:
            Displacement.read(file)
        assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("spoilt", ["an image", "another version", "no numbers", "cut off"])
def test_another_file_is_refused(written, spoilt):
    image = nib.load(written)
    vectors, header = np.asarray(image.dataobj), image.header.copy()
    if spoilt == "an image":
        vectors = vectors[..., 0, 0]
    elif spoilt == "another version":
        header["descrip"] = FORMAT[:-1] + "9"
    elif spoilt == "no numbers":
        vectors = vectors.copy()
        vectors[2, 1, 1] = np.nan
    nib.save(nib.Nifti1Image(vectors, image.affine, header), written)
    if spoilt == "cut off":
        written.write_bytes(written.read_bytes()[:-200])
    with pytest.raises(StudyError, match="Import the study again"):
        Displacement.read(written)


# Known motions.


def test_places_go_where_the_motion_takes_them_and_back(motion):
    forth, back, close_mm = motion
    affine = oblique()
    displacement = Displacement.of(registered_by(forth, affine), affine)
    places = places_of(SHAPE, affine)
    assert np.linalg.norm(forth(places) - places, axis=1).max() > 5
    np.testing.assert_allclose(displacement.to_phase(places), forth(places), atol=close_mm)
    np.testing.assert_allclose(displacement.to_reference(forth(places)), places, atol=close_mm + 0.02)
    inverse = displacement.inverse(SHAPE, affine)
    inner = places_of(SHAPE, affine, margin=0.25)
    np.testing.assert_allclose(inverse.to_phase(inner), back(inner), atol=2 * close_mm + 0.02)
    np.testing.assert_allclose(displacement.to_reference(inner), back(inner), atol=close_mm + 0.02)


def test_one_place_is_enough():
    displacement = Displacement.of(registered_by(rigid, oblique()), oblique())
    place = np.array([3.0, -5.0, 8.0])
    np.testing.assert_allclose(displacement.to_phase(place), rigid(place), atol=1e-3)
    np.testing.assert_allclose(displacement.to_reference(rigid(place)), place, atol=0.02)


def test_nodes_are_near_enough_and_reach_the_outermost_voxels():
    affine = oblique()
    displacement = Displacement.of(registered_by(twist, affine), affine)
    assert (np.linalg.norm(displacement.affine[:3, :3], axis=0) <= NODE_MM + 1e-6).all()
    last = apply_affine(displacement.affine, np.array(displacement.field_mm.shape[:3]) - 1)
    np.testing.assert_allclose(last, apply_affine(affine, np.array(SHAPE) - 1), atol=1e-3)


@pytest.mark.parametrize("shape", [(80, 70, 30), (4, 4, 4), (5, 200, 1 + 4)])
def test_small_grids_have_a_displacement_too(shape):
    displacement = Displacement.of(registered_by(rigid, oblique(), shape, (1, 2, 1)), oblique())
    assert min(displacement.field_mm.shape[:3]) >= 2
    places = places_of(shape, oblique())
    np.testing.assert_allclose(displacement.to_phase(places), rigid(places), atol=5e-3)


@pytest.mark.parametrize("slope", [0.9, 1.8, -0.8])
def test_steep_slopes_have_an_inverse_too(slope):
    """Stretched to nearly threefold, or pressed to a fifth."""
    affine = np.diag([NODE_MM, NODE_MM, NODE_MM, 1.0])
    field = np.zeros((6, 6, 20, 3), np.float32)
    field[..., 2] = slope * NODE_MM * np.clip(np.arange(20) - 8, 0, 3)
    assert Displacement(field, affine).residual_mm() < 0.05


def test_a_fold_has_none_and_is_told():
    field = np.zeros((6, 6, 20, 3), np.float32)
    field[..., 2] = -1.5 * NODE_MM * np.clip(np.arange(20) - 8, 0, 3)
    displacement = Displacement(field, np.diag([NODE_MM, NODE_MM, NODE_MM, 1.0]))
    assert displacement.residual_mm() > 1.0
    assert np.isfinite(displacement.to_reference(places_of((6, 6, 20), displacement.affine))).all()


# The file.


def test_the_file_gives_back_what_was_written(written):
    displacement, again = Displacement.of(registered_by(twist, oblique()), oblique()), Displacement.read(written)
    np.testing.assert_array_equal(again.field_mm, displacement.field_mm)
    np.testing.assert_allclose(again.affine, displacement.affine, atol=1e-4)
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_a_large_study_takes_little_room(tmp_path):
    """400 x 400 x 240 mm, with noise that no packing can take away."""
    shape, spacing = (512, 512, 96), (0.8, 0.8, 2.5)
    noise = np.random.default_rng(0)
    found = registered_by(
        lambda p: p + noise.normal(size=p.shape), oblique(spacing, (0, 0, 0), (-1, 1, 1)), shape, (4, 4, 1)
    )
    file = tmp_path / "displacement.nii.gz"
    Displacement.of(found, oblique(spacing, (0, 0, 0), (-1, 1, 1))).write(file)
    assert file.stat().st_size < 400_000


def test_itk_reads_the_file_as_a_displacement_of_its_own_world(written):
    displacement = Displacement.read(written)
    image = itk.imread(str(written))
    vectors = itk.array_from_image(image)
    for node in ((0, 0, 0), (2, 3, 4), (5, 1, 7)):
        place = np.array(image.TransformIndexToPhysicalPoint(node)) * LPS
        found = place + vectors[node[2], node[1], node[0]] * LPS
        np.testing.assert_allclose(place, apply_affine(displacement.affine, node), atol=1e-3)
        np.testing.assert_allclose(found, displacement.to_phase(place), atol=1e-3)
