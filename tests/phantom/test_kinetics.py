"""Concentrations and signals against independent formulas."""

import dcmri
import numpy as np
import pytest

from scripts.phantom.kinetics import INJECTION_DELAY_S, TIME_S, Circulation, Scan, Sequence, Tissue

SEQUENCE = Sequence(0.0037, 12.0)
LIVER = Tissue(0.84, 0.28, 0.012, 0.10)


@pytest.fixture(scope="module")
def circulation():
    return Circulation()


def test_signal_is_the_steady_state_of_the_bloch_equations():
    """Flip, relax, repeat until nothing changes, with ideal spoiling."""
    r1, angle = 1.3, np.deg2rad(SEQUENCE.flip_angle_deg)
    longitudinal = 1000.0
    for _ in range(5000):
        longitudinal = 1000.0 + (longitudinal * np.cos(angle) - 1000.0) * np.exp(-SEQUENCE.tr_s * r1)
    assert SEQUENCE.signal(r1) == pytest.approx(longitudinal * np.sin(angle), rel=1e-9)


def test_signal_agrees_with_dcmri():
    rates = np.array([0.5, 1.0, 5.0])
    np.testing.assert_allclose(SEQUENCE.signal(rates), dcmri.signal_ss(1000.0, rates, 0.0037, 12.0), rtol=1e-9)


@pytest.mark.parametrize(("t1_s", "expected"), [(0.84, 34.9), (1.0, 30.2), (1.6, 19.9)])
def test_native_signals_of_the_calibration_table(circulation, t1_s, expected):
    """3 T, TR 3.7 ms, 12 degrees."""
    signal = Scan(circulation, SEQUENCE, (0.0, 30.0, 70.0, 180.0)).tissue(Tissue(t1_s, 0.28, 0.012, 0.1))
    assert signal[0] == pytest.approx(expected, abs=0.05)


def test_nothing_arrives_before_the_bolus(circulation):
    early = TIME_S <= INJECTION_DELAY_S
    assert np.all(circulation.aorta[early] == 0.0)
    assert np.all(circulation.portal[early] == 0.0)
    assert np.all(circulation.tissue(LIVER)[early] == 0.0)


def test_portal_vein_follows_the_aorta(circulation):
    assert np.argmax(circulation.portal) > np.argmax(circulation.aorta)
    assert circulation.portal.max() < circulation.aorta.max()


def test_fast_exchange_follows_the_plasma(circulation):
    """With flow much faster than the space fills, C = ve * plasma concentration (haematocrit 0.45)."""
    fast = circulation.tissue(Tissue(1.0, 0.3, 30.0, 1.0))
    np.testing.assert_allclose(fast[60:], 0.3 * circulation.aorta[60:] / 0.55, rtol=0.02)


def test_one_compartment_against_explicit_integration(circulation):
    """dC/dt = Fp * cp - Fp / ve * C, integrated in steps of 10 ms."""
    tissue = Tissue(1.0, 0.4, 0.02, 1.0)
    step_s = 0.01
    fine_s = np.arange(0.0, 200.0, step_s)
    plasma = np.interp(fine_s, TIME_S, circulation.aorta) / 0.55
    concentration = np.zeros_like(fine_s)
    for i in range(1, len(fine_s)):
        previous = concentration[i - 1]
        concentration[i] = previous + step_s * tissue.fp * (plasma[i - 1] - previous / tissue.ve)
    at = [30, 70, 180]
    np.testing.assert_allclose(circulation.tissue(tissue)[at], np.interp(at, fine_s, concentration), rtol=0.02)


def test_tissue_without_flow_keeps_its_signal(circulation):
    signal = Scan(circulation, SEQUENCE, (0.0, 30.0, 70.0, 180.0)).tissue(Tissue(3.8))
    assert np.all(signal == signal[0])


def test_inflow_brightens_blood(circulation):
    blood = Scan(circulation, SEQUENCE, (0.0, 30.0, 70.0, 180.0)).blood(circulation.aorta)
    assert blood[0] > SEQUENCE.signal(1 / 1.65)
    assert blood[1] == blood.max()
