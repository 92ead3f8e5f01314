"""Turns the cases of another layout into one of our datasets, and says what was taken and what was left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm.contrib.concurrent import thread_map

from ...domain.errors import ConfigurationError, DatasetError, StudyError
from ...domain.writing import folder_when_written, require_empty
from ..case import Case
from ..discovery import case_in_dataset
from ..layout import write_dataset_json, write_subjects
from .alignment import require_registration
from .case_writing import move_case, write_case
from .dealing import SHARES, deal, require_shares
from .import_table import TABLE_FILE, Taken, table_text, write_table
from .source_case import LeftOut, SourceCase

_AT_ONCE = 4
"""Studies in memory at the same time, at most."""

_CASES_FOLDER = "cases"
"""Where cases wait, each in a folder of its own, until all are there and the splits can be dealt."""


@dataclass(frozen=True)
class ConversionOptions:
    """How to convert; the same for every layout.

    Args:
        register: ``"none"``, ``"rigid"`` or ``"deformable"``: how phases are aligned to the reference phase.
        split_shares: of train, val and test, where the layout leaves the split open.

    Raises:
        ConfigurationError: an unknown method, or shares that do not add up to 1.
    """

    register: str | None = "none"
    split_shares: Sequence[float] = SHARES

    def __post_init__(self) -> None:
        object.__setattr__(self, "register", require_registration(self.register))
        object.__setattr__(self, "split_shares", require_shares(self.split_shares))


def require_folder(input_dir: str | Path | None, holding: str) -> Path:
    """The folder to import from.

    Args:
        input_dir: what the user gave.
        holding: what should be in it, for the message.

    Raises:
        DatasetError: not given, or no folder.
    """
    if not input_dir:
        msg = f"no input_dir given. Give the folder that holds {holding}."
        raise DatasetError(msg)
    root = Path(input_dir)
    if not root.is_dir():
        msg = f"input_dir {root}: no such folder. Give the folder that holds {holding}."
        raise DatasetError(msg)
    return root


def require_new_folder(output_dir: str | Path | None) -> Path:
    """The folder to write to, absolute.

    Raises:
        ConfigurationError: not given, or something is in it.
    """
    if not output_dir:
        msg = "no output_dir given. Give a new folder for the dataset."
        raise ConfigurationError(msg)
    output = Path(output_dir).resolve()
    require_empty(output)
    return output


def convert(
    cases: Sequence[SourceCase],
    left: Sequence[LeftOut],
    output_dir: str | Path,
    *,
    name: str,
    options: ConversionOptions,
) -> list[Case]:
    """Write a dataset from the cases of another layout and print what became of them.

    A case whose files are unusable is left out with its reason. Everything is written aside; ``output_dir`` comes
    into being when the last file is there.

    Args:
        cases: what to convert.
        left: subjects that were left out before any file was opened.
        output_dir: new or empty folder.
        name: the dataset's name, also what the progress bar says.
        options: registration and splits.

    Returns:
        The cases of the dataset; one that nobody gives a class is in the test split with an empty class.

    Raises:
        ConfigurationError: something is in ``output_dir``.
        DatasetError: no case could be imported; nothing is written.
    """
    output = require_new_folder(output_dir)
    cores = len(os.sched_getaffinity(0))
    with folder_when_written(output) as aside:
        outcomes = thread_map(
            partial(_converted, folder=aside, register=options.register),
            cases,
            # Registration uses all cores for one study.
            max_workers=1 if options.register != "none" else min(cores, _AT_ONCE),
            desc=f"import {name}",
            unit="study",
        )
        left = [*left, *(each for each in outcomes if isinstance(each, LeftOut))]
        taken = _dealt([each for each in outcomes if isinstance(each, Taken)], options.split_shares)
        if not taken:
            msg = f"{name}: no case could be imported.\n{table_text(taken, left)}"
            raise DatasetError(msg)
        for each in taken:
            move_case(each, aside)
        shutil.rmtree(aside / _CASES_FOLDER)
        write_subjects(aside, [each.case for each in taken])
        write_dataset_json(aside, name, sum(each.case.split != "test" for each in taken))
        write_table(aside, taken, left)
    print(table_text(taken, left))
    print(f"Written to {output}; {TABLE_FILE} lists every case.")
    return [_case_in(output, each.case) for each in taken]


def _converted(source: SourceCase, *, folder: Path, register: str) -> Taken | LeftOut:
    try:
        return write_case(source, folder / _CASES_FOLDER / source.case, register=register)
    except StudyError as error:
        return LeftOut(source.case, str(error))


def _dealt(taken: Sequence[Taken], shares: Sequence[float]) -> list[Taken]:
    """With splits and folds."""
    cases = deal([each.case for each in taken], shares)
    return [replace(each, case=case) for each, case in zip(taken, cases, strict=True)]


def _case_in(root: Path, case: Case) -> Case:
    """The case with its files where they are now."""
    return case_in_dataset(
        root,
        case.case,
        split=case.split,
        tumour_class=case.tumour_class,
        fold=case.fold,
        site=case.site,
        times_s=case.times_s,
        nominal_times=case.nominal_times,
    )
