"""Draws the phantom's curves against measured ones, and its lesions against published ratios."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from ..domain.classes import CLASSES
from ..domain.enhancement import mean_curve, median_curve, ring
from ..domain.entry import entry_point
from ..domain.errors import ConfigurationError
from ..domain.phases import PHASES
from ..domain.writing import replace_when_written
from .abdomen import LIVER
from .grid import abdominal_grid
from .kinetics import INJECTION_DELAY_S, TIME_S, Circulation, Scan, Sequence
from .subject import make_study

REGIONS = ("aorta", "portal", "liver")
CURVES_FILE = "signal_curves.csv"

PUBLISHED_WASHOUT = {"equilibrium": (2, 0.86, 1.07), "delayed": (3, 0.89, 1.04)}
"""Lesion/liver of washed-out HCC and of other lesions (BMC Cancer 2016), beside the phase nearest in time."""

_STUDIES = 60
_SHAPE = (128, 128, 32)
_MEASURED_SEQUENCE = Sequence(0.00371, 15.0)


@entry_point
def draw_curves(curves_dir: str | None, output_dir: str, seed: int = 0) -> None:
    """Write ``phantom_curves.png``; the run id ``curves`` of ``configs/phantom.yaml``.

    Args:
        curves_dir: folder with ``signal_curves.csv`` (scan, roi, time_s, signal).
        output_dir: folder of the figure.
        seed: of the phantom's lesions.

    Raises:
        SystemExit: the measured curves are not there.
    """
    measured = read_curves(curves_dir)
    ratios = {name: lesion_ratios(name, seed) for name in CLASSES}
    figure = Figure(figsize=(16, 4.2), layout="constrained")
    axes = figure.subplots(1, 4)
    for region, ax in zip(REGIONS, axes, strict=False):
        _draw_region(ax, region, [curves[region] for curves in measured.values() if region in curves])
    _draw_ratios(axes[3], ratios)
    with replace_when_written(Path(output_dir) / "phantom_curves.png") as aside:
        figure.savefig(aside, dpi=110)


def read_curves(curves_dir: str | Path | None) -> dict[str, dict[str, np.ndarray]]:
    """Measured curves by scan and region, each ``(2, N)``: seconds after the bolus reaches the aorta, and S / S0.

    Raises:
        ConfigurationError: no such file.
    """
    if curves_dir is None or not (Path(curves_dir) / CURVES_FILE).is_file():
        msg = f"curves_dir {curves_dir}: no {CURVES_FILE} in it. Give the folder of the measured curves."
        raise ConfigurationError(msg)
    samples: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    with (Path(curves_dir) / CURVES_FILE).open(newline="") as file:
        for row in csv.DictReader(file):
            samples[row["scan"]][row["roi"]].append((float(row["time_s"]), float(row["signal"])))
    return {
        scan: _from_arrival({roi: np.array(rows).T for roi, rows in rois.items()}) for scan, rois in samples.items()
    }


def _from_arrival(curves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    time_s, signal = curves["aorta"]
    baseline = np.median(signal[:10])
    # The upslope's 30 % point is less noisy than its foot.
    arrival_s = time_s[np.argmax(signal > baseline + 0.3 * (signal.max() - baseline))]
    return {
        roi: np.stack([curve[0] - arrival_s, curve[1] / curve[1][curve[0] < arrival_s - 5.0].mean()])
        for roi, curve in curves.items()
    }


def simulated_curves(agent: str, sequence: Sequence) -> dict[str, np.ndarray]:
    """The same regions from the phantom's mean circulation, like ``read_curves``."""
    scan = Scan(Circulation(agent=agent), sequence, tuple(TIME_S))
    blood = scan.circulation
    curves = {
        "aorta": scan.blood(blood.aorta),
        "portal": scan.blood(blood.portal),
        "liver": scan.tissue(LIVER),
    }
    return {name: np.stack([TIME_S - INJECTION_DELAY_S, signal / signal[0]]) for name, signal in curves.items()}


def lesion_ratios(tumour_class: str, seed: int) -> np.ndarray:
    """Lesion over liver ring in freshly made studies, ``(N, 4)``."""
    grid = abdominal_grid(_SHAPE)
    ratios = []
    for index in tqdm(range(_STUDIES), desc=tumour_class, unit="study"):
        sequence = np.random.SeedSequence(seed, spawn_key=(CLASSES.index(tumour_class), index))
        study = make_study(sequence, tumour_class, grid)
        lesion = study.label > 0
        around = ring(lesion, grid.spacing_mm, allowed=(study.liver > 0) & ~lesion)
        ratios.append(mean_curve(study.image, lesion) / median_curve(study.image, around))
    return np.array(ratios)


def _draw_region(ax: Axes, region: str, measured: list[np.ndarray]) -> None:
    for curve in measured:
        ax.plot(*curve, color="0.75", linewidth=0.7)
    alike = simulated_curves("gadoxetate", _MEASURED_SEQUENCE)[region]
    ax.plot(*alike, color="tab:blue", label="simulated as measured: gadoxetate 0.025 mmol/kg, 15°")
    protocol = simulated_curves("gadobutrol", Sequence(0.0037, 12.0))[region]
    ax.plot(*protocol, color="tab:orange", label="phantom: gadobutrol 0.1 mmol/kg, 12°")
    ax.set(title=f"{region} ({len(measured)} scans)", xlim=(-20, 300), xlabel="s after arrival in the aorta")
    ax.set_ylabel("signal / baseline")
    ax.set_ylim(top=1.2 * ax.get_ylim()[1])
    ax.legend(fontsize=7, loc="upper right")


def _draw_ratios(ax: Axes, ratios: dict[str, np.ndarray]) -> None:
    for (name, values), offset, colour in zip(ratios.items(), (-0.15, 0.15), ("tab:green", "tab:red"), strict=True):
        positions = np.arange(len(PHASES)) + offset
        parts = ax.boxplot(values, positions=positions, widths=0.25, showfliers=False, patch_artist=True)
        for box in parts["boxes"]:
            box.set(facecolor=colour, alpha=0.5, label=name if box is parts["boxes"][0] else None)
    phases, washed_out, other = (np.array(column) for column in zip(*PUBLISHED_WASHOUT.values(), strict=True))
    ax.plot(phases + 0.15, washed_out, "k*", label="published, washed-out HCC")
    ax.plot(phases - 0.15, other, "kD", markersize=4, label="published, not HCC")
    ax.axhline(1.0, color="0.6", linewidth=0.7)
    ax.set(title=f"lesion / liver ring ({_STUDIES} studies a class)", xticks=range(len(PHASES)), ylim=(0.3, 2.5))
    ax.set_xticklabels([name.replace("_", "\n") for name in PHASES], fontsize=8)
    ax.legend(fontsize=7)
