"""The four phases of a dynamic contrast-enhanced liver MRI, in the order used everywhere."""

PHASES = ("pre", "arterial", "portal_venous", "delayed")

REFERENCE_PHASE = "arterial"
"""Masks live on this phase's grid and the other phases are resampled or registered to it."""

REFERENCE_INDEX = PHASES.index(REFERENCE_PHASE)

NOMINAL_TIMES_S = (0.0, 30.0, 70.0, 180.0)
"""Seconds after the injection, assumed where a study does not say when its phases were taken."""
