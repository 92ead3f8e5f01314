"""What a reader needs of a grid, small enough to be committed: the tables, and the runs without their weights."""

from __future__ import annotations

import os
from pathlib import Path

from ...domain.entry import entry_point
from ...domain.errors import ConfigurationError
from ...domain.writing import replace_when_written
from ...results.writing import MASK_FILE
from .building import TITLE, build_tables
from .runs import RUNS_FOLDER, read_grid

PUBLISHED = (
    "done.json",
    "metrics.json",
    "per_subject.csv",
    "training_log.csv",
    "cost.json",
    "summary.json",
    "provenance.json",
    "pretraining/training_log.csv",
    "nnunet/facts.json",
)
"""Files of a run that tables are built from, and those that say how it came about."""


@entry_point
def publish(grid_dir: str, output_dir: str, *, dataset_dir: str | None = None, title: str = TITLE) -> None:
    """Write the tables to ``output_dir/tables`` and the numbers of every finished run to ``output_dir/runs``.

    The output is itself a ``grid_dir``, from which the same tables can be built again. The masks that the runs kept are
    there for Fig. 3. Paths below the working directory become relative.

    Args:
        grid_dir: the output folder of the grid.
        output_dir: another folder; what an earlier call wrote is replaced.
        dataset_dir: of the liver studies, for Fig. 3; None leaves it out.
        title: heading of the tables.

    Raises:
        SystemExit: the output is the grid itself or holds runs that the grid has not; or what ``build_tables`` refuses.
    """
    source, output = Path(grid_dir), Path(output_dir)
    if source.resolve() == output.resolve():
        msg = f"output_dir {output} is the grid itself. Give a folder of its own"
        raise ConfigurationError(msg)
    folders = {run.folder.relative_to(source) for runs in read_grid(source).runs.values() for run in runs}
    others = {path.relative_to(output) for path in output.glob(f"{RUNS_FOLDER}/*/fold*/seed*")} - folders
    if others:
        msg = f"{output / min(others)} is no finished run of {source}. Remove it, or publish to a new folder"
        raise ConfigurationError(msg)
    build_tables(grid_dir, str(output / "tables"), dataset_dir=dataset_dir, title=title)
    for folder in sorted(folders):
        _publish_run(source / folder, output / folder)
    print(f"{len(folders)} runs in {output / RUNS_FOLDER}")


def _publish_run(folder: Path, output: Path) -> None:
    here = f"{Path.cwd()}{os.sep}"
    for name in PUBLISHED:
        if (folder / name).is_file():
            with replace_when_written(output / name) as aside:
                aside.write_text((folder / name).read_text(encoding="utf-8").replace(here, ""), encoding="utf-8")
    for mask in folder.glob(f"*/{MASK_FILE}"):
        with replace_when_written(output / mask.relative_to(folder)) as aside:
            aside.write_bytes(mask.read_bytes())
