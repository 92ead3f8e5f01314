"""Writes one study's result: ``<output_dir>/<case>/{mask.nii.gz, result.json, figure.png}``, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.figure import Figure

from ..domain.errors import StudyError
from ..domain.result import Result

MASK_FILE = "mask.nii.gz"
RESULT_FILE = "result.json"
FIGURE_FILE = "figure.png"


def write_result(
    output_dir: str | Path,
    result: Result,
    *,
    write_mask: Callable[[Path], None],
    figure: Figure | None = None,
) -> Path:
    """Write a result's folder beside its place and rename it there; an older one is replaced.

    Args:
        output_dir: made where it does not exist.
        result: names the folder by its ``subject``.
        write_mask: writes the mask to the path that it is given.
        figure: the study's picture; None leaves it out.

    Returns:
        The folder ``<output_dir>/<case>``.

    Raises:
        StudyError: the subject's name cannot name a folder.
    """
    output_dir = Path(output_dir)
    if result.subject in ("", ".", "..") or Path(result.subject).name != result.subject:
        msg = f"{result.subject!r} cannot name a result's folder. Rename the case, without slashes."
        raise StudyError(msg)
    output_dir.mkdir(parents=True, exist_ok=True)
    folder = output_dir / result.subject
    with TemporaryDirectory(dir=output_dir, prefix=".writing-") as aside:
        written = Path(aside, "new")
        written.mkdir()
        write_mask(written / MASK_FILE)
        result.write_json(written / RESULT_FILE)
        if figure is not None:
            figure.savefig(written / FIGURE_FILE)
        if folder.exists():
            folder.rename(Path(aside, "old"))
        written.rename(folder)
    return folder
