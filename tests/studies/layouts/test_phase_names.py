from __future__ import annotations

import pytest

from scripts.studies.layouts.phase_names import phase_of


@pytest.mark.parametrize("name", ["T2WI", "DWI", "In Phase", "Out Phase", "FLAIR", "T1", "t1gd", "MRI", "phase", ""])
def test_other_sequences_are_no_phase(name):
    assert phase_of(name) is None


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("pre", "pre"),
        ("C-pre", "pre"),
        ("T1 pre-contrast", "pre"),
        ("Arterial phase", "arterial"),
        ("C+A", "arterial"),
        ("MRI_T1w_arterial", "arterial"),
        ("portal_venous", "portal_venous"),
        ("Portal Venous Phase", "portal_venous"),
        ("C+V", "portal_venous"),
        ("delayed", "delayed"),
        ("C+Delay", "delayed"),
        ("Equilibrium", "delayed"),
    ],
)
def test_what_datasets_call_them(name, phase):
    assert phase_of(name) == phase
