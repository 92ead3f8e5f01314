"""The tables for readers: one Markdown file, and one HTML page that opens offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from ...domain.writing import replace_when_written
from .views import COMPARISON_HEADINGS, COST_HEADINGS, REPORTED, TableView

MARKDOWN_FILE, HTML_FILE, FIGURES_FOLDER = "tables.md", "tables.html", "figures"
EXAMPLES = "examples-"

METHODS = (
    "A subject is the unit everywhere: its value is the mean over its seeds, then over the folds that scored it. "
    "± behind a mean is the standard deviation over subjects; that over folds (of their means) and over seeds (of"
    " their means within a fold) stands below it where there are several.",
    "Intervals are 95 % percentile bootstraps over subjects (2,000 draws). They do not hold how another training "
    "would turn out; the standard deviation over seeds says that.",
    "Each system is compared with the reference over the folds and subjects that both have. Dice, errors and "
    "distances: Wilcoxon's signed-rank test on the differences by subject. Right answers: McNemar's exact test, "
    "or with several runs the exact sign-flip test on each subject's share of right runs, which is the same for "
    "one run. p is two-sided; Holm's correction is over all tests of a table.",
    "Effect sizes: Cohen's d of the paired differences and the matched rank-biserial correlation; for right "
    "answers the risk difference and the matched odds ratio.",
    "A number counts only where its validation score (val_dice for DSC and IoU, val_mae_ratio for MAE, val_accuracy "
    "for the accuracy, val_score for others) changed by less than .005 in the last fifth of the epochs of all its "
    'runs. Others say "not converged", are never called best, and their comparisons are not counted.',
    'The column "reported, private data" holds what the paper printed. Its data cannot be had: those numbers are '
    "shown beside ours, never compared with them.",
    "Convexity: mean IoU cannot be below D / (2 - D) for the mean Dice D over the same cases (Jensen).",
)


@dataclass(frozen=True, eq=False)
class Page:
    """Everything that the Markdown and the HTML show.

    Args:
        title: heading.
        facts: about the runs, by name.
        warnings: what a reader must know first, such as folders that were left out.
        tables: in order.
        figures: pictures by name: ``training``, and a table's ``<key>``, ``<key>-confusion`` and ``examples-<key>``.
        costs: lines of ``COST_HEADINGS``.
    """

    title: str
    facts: Mapping[str, str]
    warnings: Sequence[str]
    tables: Sequence[TableView]
    figures: Mapping[str, Figure]
    costs: Sequence[tuple[str, ...]]


def write_page(page: Page, output_dir: Path) -> None:
    """Write ``tables.md`` with its pictures as files, and ``tables.html`` with its pictures inside."""
    pictures = {name: _png(figure) for name, figure in page.figures.items()}
    for name, png in pictures.items():
        with replace_when_written(output_dir / FIGURES_FOLDER / f"{name}.png") as aside:
            aside.write_bytes(png)
    links = {name: f"{FIGURES_FOLDER}/{name}.png" for name in pictures}
    inside = {name: f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}" for name, png in pictures.items()}
    for template, file, shown in (("tables.md.j2", MARKDOWN_FILE, links), ("tables.html.j2", HTML_FILE, inside)):
        text = (
            _environment(html=file == HTML_FILE)
            .get_template(template)
            .render(
                page=page,
                pictures=shown,
                has_examples=any(name.startswith(EXAMPLES) for name in shown),
                reported=REPORTED,
                comparison_headings=COMPARISON_HEADINGS,
                cost_headings=COST_HEADINGS,
                methods=METHODS,
            )
        )
        with replace_when_written(output_dir / file) as aside:
            aside.write_text(text, encoding="utf-8")


def _environment(*, html: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _png(figure: Figure) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return drawn.getvalue()
