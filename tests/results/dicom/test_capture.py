import dataclasses

import numpy as np
import pydicom

from scripts.results.dicom.capture import MAX_LESIONS, page
from scripts.results.dicom.equipment import equipment_of
from scripts.results.figures import draw_study


def test_is_a_colour_page_in_the_source_study(finished):
    read = pydicom.dcmread(finished.files["page"])
    assert read.SOPClassUID.name == "Secondary Capture Image Storage"
    assert (read.BodyPartExamined, read.PhotometricInterpretation, read.BurnedInAnnotation) == ("LIVER", "RGB", "YES")
    expected = page(finished.written.study, finished.mask, finished.result, equipment_of(finished.result))
    np.testing.assert_array_equal(read.pixel_array, expected)


def test_holds_the_picture_under_a_warning_and_over_the_numbers(finished):
    study, mask, result = finished.written.study, finished.mask, finished.result
    drawn = page(study, mask, result, equipment_of(result))
    figure = draw_study(study, mask, result)
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    np.testing.assert_array_equal(drawn[36 : 36 + len(picture)], picture)
    warning = drawn[:36].astype(int)
    assert np.median(warning[..., 0] - warning[..., 1]) > 100
    assert np.ptp(warning) == 255
    assert (drawn[36 + len(picture) :] < 100).any()


def test_numbers_change_the_page(finished):
    study, mask, result = finished.written.study, finished.mask, finished.result
    equipment = equipment_of(result)
    before = page(study, mask, result, equipment)
    smaller = dataclasses.replace(result.lesions[1], volume_ml=0.49)
    after = page(study, mask, dataclasses.replace(result, lesions=(result.lesions[0], smaller)), equipment)
    changed = np.argwhere((before != after).any(axis=-1))
    # The second row of the table, in the volume's column.
    assert changed[:, 0].min() > 36 + 640 + 26
    assert 200 < changed[:, 1].min() < changed[:, 1].max() < 330


def test_many_lesions_fit_one_page(finished):
    study, mask, result = finished.written.study, finished.mask, finished.result
    some = (result.lesions[0],) * MAX_LESIONS
    equipment = equipment_of(result)
    full = page(study, mask, dataclasses.replace(result, lesions=some), equipment)
    more = page(study, mask, dataclasses.replace(result, lesions=some * 5), equipment)
    assert len(more) == len(full) + 20


def test_study_without_a_lesion_has_a_page(finished_empty):
    assert pydicom.dcmread(finished_empty.files["page"]).pixel_array.shape[1:] == (1200, 3)
