"""Contrast agent in the circulation and in tissue (dcmri), and the signal that it makes."""

from __future__ import annotations

from dataclasses import dataclass

import dcmri
import numpy as np

HAEMATOCRIT = 0.45
DOSE_ML_PER_KG = 0.1
"""Of gadobutrol, 1 mmol/mL: 0.1 mmol/kg."""
INJECTION_DELAY_S = 13.0
"""From the injection, where phase times count from, to the heart."""
M0 = 1000.0
T1_BLOOD_S = 1.65
INFLOW_PER_S = 0.35
"""Added to the relaxation rate of flowing blood: fresh spins brighten it in a spoiled gradient echo."""

TIME_S = np.arange(0.0, 420.0, 1.0)


@dataclass(frozen=True)
class Tissue:
    """Kinetic and magnetic parameters of one tissue (dual-inlet extracellular model ``2I-EC`` of dcmri).

    Args:
        t1_s: native T1.
        ve: extracellular volume, mL/mL.
        fp: plasma flow, mL/s/mL.
        fa: arterial share of the flow.
        ta_s: arterial transit time.
        density: proton density relative to the liver, fat suppression and susceptibility included.
    """

    t1_s: float
    ve: float = 0.0
    fp: float = 0.0
    fa: float = 1.0
    ta_s: float = 0.0
    density: float = 1.0


@dataclass(frozen=True)
class Sequence:
    """A spoiled gradient echo: repetition time and flip angle."""

    tr_s: float
    flip_angle_deg: float

    def signal(self, r1_per_s: np.ndarray) -> np.ndarray:
        """Steady-state signal, ``M0 sin(a) (1 - E) / (1 - cos(a) E)`` with ``E = exp(-TR R1)`` (Ernst 1966)."""
        angle = np.deg2rad(self.flip_angle_deg)
        decay = np.exp(-self.tr_s * np.asarray(r1_per_s))
        return M0 * np.sin(angle) * (1.0 - decay) / (1.0 - np.cos(angle) * decay)


class Circulation:
    """Blood concentrations of one subject after an injection.

    Args:
        cardiac_output_ml_s: cardiac output.
        gut_transit_s: mean transit time from the aorta to the portal vein.
        agent: contrast agent, as dcmri names it; it stays outside the cells in this model.
    """

    def __init__(
        self, *, cardiac_output_ml_s: float = 97.0, gut_transit_s: float = 15.0, agent: str = "gadobutrol"
    ) -> None:
        self.relaxivity_per_s_m = dcmri.relaxivity(3.0, "blood", agent)
        self.aorta = dcmri.aif_tristan(
            TIME_S,
            agent=agent,
            dose=DOSE_ML_PER_KG,
            rate=2.0,
            BAT=INJECTION_DELAY_S,
            CO=cardiac_output_ml_s,
        )
        self.portal = dcmri.flux_chain(self.aorta, gut_transit_s, 0.85, t=TIME_S)

    def tissue(self, tissue: Tissue) -> np.ndarray:
        """Tissue concentration over ``TIME_S``, mol/L."""
        if tissue.fp == 0.0:
            return np.zeros_like(TIME_S)
        return dcmri.conc_liver(
            self.aorta,
            t=TIME_S,
            cv=self.portal,
            H=HAEMATOCRIT,
            ve=tissue.ve,
            Fp=tissue.fp,
            fa=tissue.fa,
            Ta=tissue.ta_s,
        )

    def venous(self, tissue: Tissue) -> np.ndarray:
        """Blood concentration in the vein that drains a tissue, mol/L."""
        return self.tissue(tissue) / tissue.ve * (1.0 - HAEMATOCRIT)


class Scan:
    """Signals of one subject's tissues at the true times of the four phases.

    Args:
        circulation: the subject's blood concentrations.
        sequence: the scanner's.
        times_s: four true acquisition times after the injection.
    """

    def __init__(self, circulation: Circulation, sequence: Sequence, times_s: tuple[float, ...]) -> None:
        self.circulation = circulation
        self.sequence = sequence
        self.times_s = times_s

    def tissue(self, tissue: Tissue) -> np.ndarray:
        """``(4,)`` float64 noise-free signal of a tissue."""
        return self._signal(1.0 / tissue.t1_s, self.circulation.tissue(tissue), tissue.density)

    def blood(self, concentration: np.ndarray) -> np.ndarray:
        """``(4,)`` signal of flowing blood from its concentration over time."""
        return self._signal(1.0 / T1_BLOOD_S + INFLOW_PER_S, concentration, 1.0)

    def _signal(self, r10_per_s: float, concentration: np.ndarray, density: float) -> np.ndarray:
        at_phases = np.interp(self.times_s, TIME_S, concentration)
        signal = density * self.sequence.signal(r10_per_s + self.circulation.relaxivity_per_s_m * at_phases)
        # Transcendental functions may differ in the last bit between machines; the volumes must not.
        return np.round(signal, 3)
