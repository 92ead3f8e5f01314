import numpy as np
import pytest
from scipy import ndimage

from scripts.results.components import find_components
from scripts.results.enhancement import describe, lesion_curves, rule_class

NAN = float("nan")


def test_the_curves_equal_those_of_the_whole_volume(make_study, both_lesions, known):
    rng = np.random.default_rng(1)
    study = make_study(both_lesions, image=rng.normal(100, 20, (4, *known.shape)).astype(np.float32))
    allowed = rng.random(known.shape) > 0.3
    components, _ = find_components(known.hcc_mask)
    from_mask, ring = lesion_curves(study, components[0], allowed=allowed)
    distance_mm = ndimage.distance_transform_edt(~known.hcc_mask, sampling=known.spacing_mm)
    shell = (distance_mm >= 3) & (distance_mm <= 10) & allowed
    np.testing.assert_allclose(from_mask, study.image[:, known.hcc_mask].mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(ring, np.median(study.image[:, shell], axis=1), rtol=1e-6)


def test_a_missing_phase_is_not_a_number_in_both_curves(make_study, both_lesions, known):
    study = make_study(both_lesions, available=(True, True, False, True))
    from_mask, ring = lesion_curves(study, find_components(known.hcc_mask)[0][0], allowed=~known.hcc_mask)
    np.testing.assert_array_equal(np.isnan(from_mask), [False, False, True, False])
    np.testing.assert_array_equal(np.isnan(ring), [False, False, True, False])


@pytest.mark.parametrize("shown", [0.0, 0.9])
def test_a_phase_that_does_not_show_the_whole_lesion_has_no_value(make_study, both_lesions, known, shown):
    """Beyond its edge a resampled phase is zero, which in a mean would look like washout."""
    study = make_study(both_lesions)
    xs = np.unique(np.argwhere(known.hcc_mask)[:, 0])
    study.image[3, xs[int(shown * len(xs))] :] = 0.0
    from_mask, ring = lesion_curves(study, find_components(known.hcc_mask)[0][0], allowed=~known.hcc_mask)
    np.testing.assert_array_equal(np.isnan(from_mask), [False, False, False, True])
    np.testing.assert_array_equal(np.isnan(ring), [False, False, False, True])
    assert rule_class(from_mask, ring) is None


def test_a_lesion_at_the_corner_of_the_image_has_a_ring(make_study, known):
    corner = known.ellipsoid((0, 79, 0), 9.0)
    _, ring = lesion_curves(make_study(), find_components(corner)[0][0], allowed=~corner)
    np.testing.assert_allclose(ring, known.liver_curve)


def test_signs_and_ratios_follow_from_the_curves(make_study, known):
    enhancement = describe(
        make_study(),
        from_mask=known.hcc_curve,
        ring=known.liver_curve,
        regressed=(known.hcc_curve + np.array([10, -20, 0, 10]) - known.offset) / known.scale,
        shared_slices=True,
    )
    assert enhancement.regressed == pytest.approx((100, 280, 230, 170))
    assert enhancement.relative == pytest.approx((0, 210 / 90, 140 / 90, 70 / 90))
    assert enhancement.disagreement == pytest.approx((10 + 20 + 0 + 10) / 4 / known.scale)
    assert enhancement.psr_portal_venous == pytest.approx(100 * 240 / 230)
    assert enhancement.psr_delayed == pytest.approx(125.0)
    assert enhancement.arterial_hyperenhancement is True
    assert enhancement.washout is True
    assert enhancement.shared_slices is True


def test_without_a_pre_contrast_phase_only_relative_enhancement_is_lost(make_study, known):
    study = make_study(available=(False, True, True, True))
    curve = np.array([NAN, *known.hcc_curve[1:]])
    enhancement = describe(study, from_mask=curve, ring=known.liver_curve, regressed=None, shared_slices=False)
    assert enhancement.relative == (None,) * 4
    assert enhancement.from_mask == (None, 300.0, 230.0, 160.0)
    assert enhancement.washout is True


@pytest.mark.parametrize(
    ("lost", "sign"), [(1, "arterial_hyperenhancement"), (2, "psr_portal_venous"), (3, "washout"), (3, "psr_delayed")]
)
def test_a_sign_without_its_phase_is_none_and_not_false(make_study, known, lost, sign):
    curve = known.hcc_curve.copy()
    curve[lost] = NAN
    enhancement = describe(make_study(), from_mask=curve, ring=known.liver_curve, regressed=None, shared_slices=False)
    assert getattr(enhancement, sign) is None


def test_the_head_says_nothing_about_a_missing_phase(make_study, known):
    study = make_study(available=(True, True, True, False))
    curve = np.array([*known.hcc_curve[:3], NAN])
    enhancement = describe(study, from_mask=curve, ring=curve, regressed=np.zeros(4), shared_slices=False)
    assert enhancement.regressed == (known.offset,) * 3 + (None,)
    assert enhancement.disagreement == pytest.approx(np.abs(known.hcc_curve[:3] - known.offset).mean() / known.scale)


def test_without_a_head_there_is_no_regressed_curve(make_study, known):
    enhancement = describe(
        make_study(), from_mask=known.hcc_curve, ring=known.liver_curve, regressed=None, shared_slices=False
    )
    assert enhancement.regressed == (None,) * 4
    assert enhancement.disagreement is None


def test_the_rule_needs_the_arterial_and_the_delayed_phase(known):
    assert rule_class(known.hcc_curve, known.liver_curve) == "hcc"
    assert rule_class(known.hemangioma_curve, known.liver_curve) == "hemangioma"
    assert rule_class(np.array([NAN, 300, NAN, 160]), known.liver_curve) == "hcc"
    assert rule_class(np.array([90, NAN, 230, 160]), known.liver_curve) is None
    assert rule_class(known.hcc_curve, np.array([100, 150, 240, NAN])) is None
