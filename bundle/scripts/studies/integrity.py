"""The integrity check of a dataset: every fault at once, with the file and the fix; nothing is written."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from tqdm.contrib.concurrent import thread_map

from ..domain.entry import entry_point
from ..domain.errors import DatasetError
from .case_checks import CheckedCase, check_case
from .fault import Fault
from .table_checks import check_folders, check_table


def check_dataset(dataset_dir: str | Path) -> list[Fault]:
    """Look at every file of a dataset for training, validation and testing.

    Args:
        dataset_dir: the ``DatasetXXX_Name`` folder.

    Returns:
        All faults, in the order of table, folders and cases; empty when the dataset is sound.

    Raises:
        DatasetError: there is no such folder.
    """
    root = Path(dataset_dir)
    if not root.is_dir():
        msg = f"{root}: no such folder. Give the dataset folder that holds imagesTr and subjects.csv as dataset_dir."
        raise DatasetError(msg)
    cases, table_faults = check_table(root)
    if not cases and not table_faults:
        return [Fault("", root, "no case in it", "Put images into imagesTr or imagesTs and list them in subjects.csv")]
    checked = thread_map(
        partial(check_case, root=root),
        cases,
        max_workers=len(os.sched_getaffinity(0)),
        desc="checking dataset",
        unit="study",
    )
    return [
        *table_faults,
        *check_folders(root, cases),
        *(fault for each in checked for fault in each.faults),
        *_copies(checked),
    ]


def require_valid(dataset_dir: str | Path) -> None:
    """Refuse a dataset with any fault.

    Raises:
        DatasetError: listing all faults, one a line.
    """
    faults = check_dataset(dataset_dir)
    if faults:
        msg = "\n".join([f"{dataset_dir}: {len(faults)} fault(s) to correct before training", *map(str, faults)])
        raise DatasetError(msg)


@entry_point
def check(dataset_dir: str) -> None:
    """Check a dataset; the run id ``check``.

    Args:
        dataset_dir: the ``DatasetXXX_Name`` folder.

    Raises:
        SystemExit: listing all faults, one a line; non-zero.
    """
    require_valid(dataset_dir)
    print(f"{dataset_dir}: no fault found")


def _copies(checked: list[CheckedCase]) -> list[Fault]:
    """Cases with the same images under another id: one subject that could be in two splits."""
    first: dict[int, CheckedCase] = {}
    faults = []
    for each in checked:
        if each.content is None:
            continue
        other = first.setdefault(each.content, each)
        if other is not each:
            problem = f"the same images as case {other.case.case}: duplicate subject"
            if each.case.split != other.case.split:
                problem += f", in two splits ({other.case.split}, {each.case.split})"
            faults.append(Fault(each.case.case, each.case.image_files[0], problem, "Leave one of the two out"))
    return faults
