"""Do the signals that choose the next study know where the network is wrong? Their rank correlation with its errors.

    python apps/mtinet_label/signal_quality.py --dataset_dir runs/phantom

Measures the served signals on test subjects with a tumour, beside what ``evaluating`` found for the same weights, and
writes ``apps/mtinet_label/docs/signal_quality.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from scipy.stats import spearmanr
from tqdm import tqdm

from lib.activelearning.scorer import signals_of
from lib.analysis import INFERENCE_CONFIG
from lib.models import SHIPPED_WEIGHTS
from lib.settings import BUNDLE_ROOT
from scripts.domain.classes import NO_LESION
from scripts.domain.entry import entry_point
from scripts.domain.errors import ConfigurationError
from scripts.domain.writing import replace_when_written
from scripts.engines.weights import load_network
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study

APP = Path(__file__).resolve().parent
SIGNALS = ("uncertainty", "consistency")
FEWEST = 10


@entry_point
def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write.

    Args:
        arguments: of the command line.

    Raises:
        SystemExit: too few evaluated subjects among the dataset's.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True)
    parser.add_argument("--per_subject", type=Path, default=BUNDLE_ROOT / "docs" / "results" / "per_subject.csv")
    parser.add_argument("--subjects", type=int, default=60)
    parser.add_argument("--output", type=Path, default=APP / "docs" / "signal_quality.json")
    given = vars(parser.parse_args(arguments))
    found = measured(given["dataset_dir"], given["per_subject"], given["subjects"])
    summary = {"subjects": len(found), "correlation_with_1_minus_dice": correlations(found)}
    for name, each in summary["correlation_with_1_minus_dice"].items():
        print(f"{name}: Spearman {each['value']:.2f}, 95 % interval {each['ci95'][0]:.2f} to {each['ci95'][1]:.2f}")
    with replace_when_written(given["output"]) as aside:
        aside.write_text(json.dumps(summary | {"by_subject": found}, indent=1) + "\n")


def measured(dataset_dir: Path, per_subject: Path, subjects: int) -> list[dict[str, float | str]]:
    """Signals and Dice of the first evaluated test subjects with a tumour.

    Raises:
        ConfigurationError: there are too few.
    """
    with per_subject.open(newline="") as file:
        dice = {row["case"]: float(row["dice"]) for row in csv.DictReader(file) if row["true_class"] != NO_LESION}
    cases = [case for case in read_dataset(dataset_dir) if case.split == "test" and case.case in dice][:subjects]
    if len(cases) < FEWEST:
        msg = f"{per_subject.name} holds {len(cases)} test subjects of the dataset with a tumour; {FEWEST} are needed"
        raise ConfigurationError(msg)
    parser = ConfigParser()
    parser.read_config(INFERENCE_CONFIG)
    network = load_network(parser.get_parsed_content("network"), SHIPPED_WEIGHTS).eval()
    found = []
    for case in tqdm(cases):
        signals = signals_of(read_study(case), network)
        values = {name: round(float(getattr(signals, name)), 6) for name in SIGNALS}
        found.append({"case": case.case, "dice": dice[case.case], **values})
    return found


def correlations(found: Sequence[Mapping[str, float | str]]) -> dict[str, dict[str, Any]]:
    """Spearman's rank correlation of every signal with 1 - Dice, and its percentile bootstrap over subjects."""
    error = 1.0 - np.array([each["dice"] for each in found])
    summary = {}
    for name in SIGNALS:
        signal = np.array([each[name] for each in found])
        rng = np.random.default_rng(0)
        drawn = [rng.integers(len(error), size=len(error)) for _ in range(2000)]
        low, high = np.nanquantile([spearmanr(signal[i], error[i]).statistic for i in drawn], [0.025, 0.975])
        value = spearmanr(signal, error).statistic
        summary[name] = {"value": round(float(value), 3), "ci95": [round(float(low), 3), round(float(high), 3)]}
    return summary


if __name__ == "__main__":
    main()
