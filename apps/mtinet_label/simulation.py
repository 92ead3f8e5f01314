"""Which study to annotate next? The app's strategies played through on the phantom, against chance.

    python apps/mtinet_label/simulation.py --dataset_dir runs/phantom --output_dir runs/active_learning

Stopped? The same command goes on. At the end, or with ``--report_only``, the curves of what was played so far go to
``apps/mtinet_label/docs/active_learning.{json,png}``.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import fields
from pathlib import Path

from lib.activelearning.simulation.arms import Arms
from lib.activelearning.simulation.curves import draw, summarise, write
from lib.activelearning.simulation.sizes import Sizes
from scripts.domain.entry import entry_point
from scripts.studies.layout import read_dataset

APP = Path(__file__).resolve().parent
RUNS = APP.parents[1] / "runs"


@entry_point
def main(arguments: list[str] | None = None) -> None:
    """Play what is left to play, then report.

    Args:
        arguments: of the command line.

    Raises:
        SystemExit: too few studies, or a simulation of other sizes in the folder.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, default=RUNS / "phantom")
    parser.add_argument("--output_dir", type=Path, default=RUNS / "active_learning")
    parser.add_argument("--docs_dir", type=Path, default=APP / "docs")
    parser.add_argument("--report_only", action="store_true")
    for field in fields(Sizes):
        if isinstance(field.default, (int, float)):
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    given = vars(parser.parse_args(arguments))
    sizes = Sizes(**{field.name: given[field.name] for field in fields(Sizes) if field.name in given})
    arms = Arms(read_dataset(given["dataset_dir"]), given["output_dir"], sizes)
    if not given["report_only"]:
        arms.play()
    summary = summarise(arms)
    write(summary, given["docs_dir"] / "active_learning.json")
    draw(summary, given["docs_dir"] / "active_learning.png")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main()
