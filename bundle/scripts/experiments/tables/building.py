"""Builds every table and figure of a grid; the run id ``tables`` of ``configs/tables.yaml``."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ...domain.entry import entry_point
from ...domain.errors import StudyError
from ..grid.arms import EXPERIMENTS
from . import files
from .arms import Arm, apart, read_arms
from .cells import VALUE, Filled, fill, rows_of
from .confusion import Confusion, confusion_of
from .costs import cost_of
from .declaration import LIVER, TABLE_KEYS, TABLES
from .examples import draw_examples, read_examples
from .figures import draw_confusions, draw_means, draw_training
from .page import EXAMPLES, Page, write_page
from .runs import Grid, Run, read_grid, require_one_dataset
from .views import cost_row, view

TITLE = "The experiment grid: tables and figures"

logger = logging.getLogger(__name__)


@entry_point
def build_tables(
    grid_dir: str, output_dir: str, *, dataset_dir: str | None = None, arms_dir: str | None = None, title: str = TITLE
) -> None:
    """Write ``tables.md``, ``tables.html``, ``figures/`` and CSV files, and print the convexity checks.

    Args:
        grid_dir: the output folder of the grid.
        output_dir: where the files go; those of an earlier call are replaced.
        dataset_dir: of the liver studies, for Fig. 3; None leaves it out.
        arms_dir: the overlays; None is ``configs/experiments``.
        title: heading.

    Raises:
        SystemExit: no finished run, runs of several datasets or splits in one table, what is no number, or a broken
            overlay.
    """
    arms = read_arms(EXPERIMENTS if arms_dir is None else Path(arms_dir), TABLE_KEYS)
    grid = read_grid(grid_dir, fitted_at_once=[key for key, arm in arms.items() if not arm.by_epochs])
    require_comparable(arms, grid)
    # A table without any arm beside its reference says nothing.
    filled = [fill(table, arms, grid) for table in TABLES if len(rows_of(table, arms)) > 1]
    views = [view(each) for each in filled]
    shown = {key: arm for key, arm in arms.items() if grid.runs.get(key)}
    warnings = list(_warnings(arms, grid, filled))
    figures, confusions = _figures(filled, shown, grid)
    examples = _examples(filled, grid, dataset_dir, warnings)
    costs = {name: cost_of(grid.runs[key]) for key, name in apart(shown).items()}
    output = Path(output_dir)
    _write_csv(filled, confusions, costs, grid, output)
    write_page(
        Page(
            title=title,
            facts=_facts(arms, grid),
            warnings=warnings,
            tables=views,
            figures=figures | examples,
            costs=[cost_row(name, cost) for name, cost in costs.items()],
        ),
        output,
    )
    for each in views:
        for sentence in each.convexity:
            print(f"Convexity, {each.filled.table.title}. {sentence}")
    for warning in warnings:
        logger.warning("%s", warning)
    print(f"Look at {output / 'tables.html'}")


def require_comparable(arms: Mapping[str, Arm], grid: Grid) -> None:
    """Refuse runs of several datasets or splits in the tables of one dataset.

    Raises:
        DatasetError: naming two of them.
    """
    for dataset in dict.fromkeys(table.dataset for table in TABLES):
        rows = [arm.key for table in TABLES if table.dataset == dataset for arm in rows_of(table, arms)]
        require_one_dataset(grid.of(dict.fromkeys(rows)))


def _figures(
    filled: Sequence[Filled], shown: Mapping[str, Arm], grid: Grid
) -> tuple[dict[str, Figure], dict[str, Confusion]]:
    drawn: dict[str, Figure | None] = {}
    confusions: dict[str, Confusion] = {}
    for each in filled:
        drawn[each.table.key] = draw_means(each)
        if each.table.confusion:
            names = apart({arm.key: arm for arm in each.arms})
            found = {name: confusion_of(grid.runs.get(key, ())) for key, name in names.items()}
            known = {name: confusion for name, confusion in found.items() if confusion is not None}
            drawn[f"{each.table.key}-confusion"] = draw_confusions(known)
            confusions |= known
    drawn["training"] = draw_training({name: grid.runs[key] for key, name in apart(shown).items()})
    return {name: figure for name, figure in drawn.items() if figure is not None}, confusions


def _examples(tables: Sequence[Filled], grid: Grid, dataset_dir: str | None, warnings: list[str]) -> dict[str, Figure]:
    """Fig. 3, a picture a table, or a warning that says what it lacks: the tables do not wait for a picture."""
    if dataset_dir is None:
        warnings.append("Fig. 3 is left out: give --dataset_dir, the liver studies that the runs were scored on")
        return {}
    of_dataset = [each for each in tables if each.table.dataset == LIVER]
    arms = {arm.key: arm for each in of_dataset for arm in each.arms}
    try:
        examples = read_examples(list(arms.values()), grid, dataset_dir)
    except StudyError as error:
        warnings.append(f"Fig. 3 is left out: {error}")
        return {}
    if not examples:
        warnings.append("Fig. 3 is left out: no run kept a mask. Evaluate with --keep_masks \"['CASE']\"")
    drawn = {f"{EXAMPLES}{each.table.key}": draw_examples(examples, each.arms) for each in of_dataset}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _write_csv(
    filled: Sequence[Filled], confusions: Mapping[str, Confusion], costs: Mapping, grid: Grid, output: Path
) -> None:
    for each in filled:
        files.write_lines(files.cell_lines(each), output / f"{each.table.key}.csv")
    comparisons = [line for each in filled for line in files.comparison_lines(each)]
    files.write_lines(comparisons, output / "comparisons.csv")
    files.write_lines(files.confusion_lines(confusions), output / "confusion.csv")
    files.write_lines(files.cost_lines(costs), output / "cost.csv")
    files.write_lines(files.run_lines(_all(grid)), output / "runs.csv")


def _warnings(arms: Mapping[str, Arm], grid: Grid, filled: Sequence[Filled]) -> Iterable[str]:
    missing = [name for key, name in apart(arms).items() if key not in grid.runs]
    if missing:
        yield f"Missing, no finished run: {'; '.join(missing)}."
    placed = {arm.key for table in TABLES for arm in rows_of(table, arms)}
    unknown = sorted(set(grid.runs) - set(arms) - placed)
    if unknown:
        yield f"Left out, as no overlay names them: {', '.join(unknown)}."
    for sentence in grid.left_out:
        yield f"Left out: {sentence}."
    numbers = [cell for each in filled for cell in each.cells.values() if cell.status == VALUE]
    not_converged = sum(not cell.counts for cell in numbers)
    if not_converged:
        yield f"{not_converged} of {len(numbers)} numbers have not converged and do not count."
    sizes = sorted({str(run.cost["image_size"]) for run in _all(grid) if run.cost.get("image_size")})
    if len(sizes) > 1:
        yield f"The runs saw images of different sizes ({', '.join(sizes)} pixels): see the cost table."
    if any(run.provenance.get("dirty") for run in _all(grid)):
        yield "The code of some runs was not that of the commit which they name: see dirty in runs.csv."


def _facts(arms: Mapping[str, Arm], grid: Grid) -> dict[str, str]:
    runs = _all(grid)
    return {
        "Systems": f"{len(set(grid.runs) & set(arms))} of {len(arms)}",
        "Runs": str(len(runs)),
        "Folds": _listed(run.fold for run in runs),
        "Seeds": _listed(run.seed for run in runs),
        "Scored on": " and ".join(sorted({_SCORED_ON[run.split] for run in runs})),
        "Commit": ", ".join(dict.fromkeys(str(run.provenance.get("commit", "not recorded"))[:10] for run in runs)),
        "Hardware": "; ".join(dict.fromkeys(run.hardware for run in runs)),
    }


_SCORED_ON = {"test": "the test split", "fold": "the held-out folds"}


def _listed(numbers: Iterable[int]) -> str:
    """How many, and which."""
    distinct = sorted(set(numbers))
    return f"{len(distinct)} ({', '.join(map(str, distinct))})"


def _all(grid: Grid) -> list[Run]:
    return grid.of(grid.runs)
