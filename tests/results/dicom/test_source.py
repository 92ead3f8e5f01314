import numpy as np
import pytest

from scripts.domain.errors import StudyError
from scripts.results.dicom.source import DicomSource, SourceStack, by_image, plane


@pytest.fixture(scope="module")
def single(write_study):
    return write_study().source


@pytest.fixture(scope="module")
def multi(write_study):
    return write_study("coronal", multi_frame=True).source


@pytest.mark.parametrize("phases", [{}, {"venous": None}])
def test_refuses_phases_that_are_none(phases):
    with pytest.raises(StudyError, match="at least one of pre, arterial"):
        DicomSource(phases)


def test_refuses_phases_of_two_studies(single, multi):
    with pytest.raises(StudyError, match="more than one DICOM study"):
        DicomSource({"pre": single.phases["pre"], "arterial": multi.phases["arterial"]})


def test_refuses_a_header_of_another_study(single, multi):
    with pytest.raises(StudyError, match="more than one DICOM study"):
        DicomSource(single.phases, header=multi.reference.header)


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "SeriesInstanceUID", "SOPClassUID"])
def test_refuses_an_image_that_nothing_can_refer_to(write_study, keyword):
    stack = write_study().source.reference
    delattr(stack.header, keyword)
    with pytest.raises(StudyError, match=f"have no {keyword}") as raised:
        plane(stack.frames[0], stack)
    assert "4711" not in str(raised.value)


@pytest.mark.parametrize("source", ["single", "multi"])
def test_plane_has_its_own_geometry_and_no_patient(request, source):
    stack = request.getfixturevalue(source).phases["delayed"]
    for index, frame in enumerate(stack.frames):
        image = plane(frame, stack)
        ras = stack.affine @ (0, 0, index, 1)
        np.testing.assert_allclose(np.array(image.ImagePositionPatient, float) * (-1, -1, 1), ras[:3], atol=1e-6)
        assert "NumberOfFrames" not in image
        assert not image.PatientName
        assert not image.PatientID
    assert [float(x) for x in image.PixelSpacing] == [2.5, 3.0]


def test_slice_thickness_falls_back_to_the_step(write_study):
    stack = write_study().source.reference
    del stack.header.SliceThickness
    assert plane(stack.frames[0], stack).SliceThickness == 5.0


def test_frames_at_points(single):
    stack = single.reference
    inside = np.array([stack.affine @ (3, 4, k, 1) for k in (2.4, 5.6)])[:, :3]
    assert stack.frames_at(inside) == stack.frames[2:7]
    beyond = np.array([stack.affine @ (3, 4, k, 1) for k in (-3, 40)])[:, :3]
    assert stack.frames_at(beyond) == stack.frames


def test_gathers_frames_by_image(single, multi):
    assert [numbers for _, numbers in by_image(single.reference.frames)] == [None] * 10
    ((header, numbers),) = by_image(multi.phases["portal_venous"].frames[:3])
    assert header is multi.reference.header
    assert numbers == [3, 7, 11]


def test_reference_is_the_arterial_phase_or_the_first(single):
    assert single.reference_phase == "arterial"
    others = DicomSource({name: single.phases[name] for name in ("delayed", "portal_venous")})
    assert others.reference_phase == "portal_venous"
    assert isinstance(others.reference, SourceStack)
