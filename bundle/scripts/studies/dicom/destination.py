"""The dataset that studies are imported into: one is added whole or not at all, and none is ever overwritten."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...domain.errors import ConfigurationError
from ...domain.folder_lock import LOCK_FILE, FolderLock
from ...domain.phases import PHASES
from ...domain.writing import replace_when_written
from ..case import images_folder, phase_file_name
from ..layout import DATASET_FILE, write_dataset_json
from ..subjects_table import COLUMNS, SUBJECTS_FILE, TIME_COLUMNS, read_rows
from .privacy import SALT_FILE, Salt

IMPORT_FOLDER = "import"
RECORD_FILE = "import.json"
SPLIT = "test"
"""Imported studies have no label, and only the test split may lack one."""

UNWRITABLE = "output_dir cannot be written"

_DATASET_NAME = "imported"

_ASIDE = ".importing-"
_LEFTOVER = re.compile(
    rf"{re.escape(_ASIDE)}.*|\.\d+\.(?:{'|'.join(map(re.escape, (SUBJECTS_FILE, DATASET_FILE, SALT_FILE)))}|\w+\.html)"
)
"""What only an import that was killed leaves: a study's folder, or a file that was being written."""


class Destination:
    """An output folder in the dataset layout, new or with the studies of earlier imports.

    A study's row of ``subjects.csv`` is written last: files without one are what an interrupted import left, and
    are replaced. From its making until ``close`` no other import can have the folder.

    Args:
        folder: new, empty, or a dataset with ``subjects.csv``.
        salt_file: where the project's salt is kept; ``<folder>/.salt`` by default.

    Raises:
        ConfigurationError: the folder holds something else, was filled with another salt, cannot be written to, or
            another import has it.
        DatasetError: ``subjects.csv`` cannot be read.
    """

    def __init__(self, folder: Path, *, salt_file: Path | None = None) -> None:
        self.folder = folder
        self._table = folder / SUBJECTS_FILE
        self._own_salt = salt_file is None
        self._salt_file = folder / SALT_FILE if salt_file is None else salt_file
        self._wrote_salt = False
        self._rows: list[dict[str, str]] = []
        self._made: list[Path] = []
        self._lock: FolderLock | None = None
        try:
            self._require_dataset()
            self._made = [place for place in (folder, *folder.parents) if not place.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder)
            self._require_dataset()  # what another import may have made of it meanwhile
            self._rows = self._read_rows()
            self._remove_leftovers()
            self.salt = self._find_salt()
        except OSError as error:
            self._leave()
            raise ConfigurationError(unwritable(error)) from error
        except BaseException:
            self._leave()
            raise

    @property
    def cases(self) -> set[str]:
        """The studies that it has."""
        return {row["case"] for row in self._rows}

    def records(self) -> list[tuple[dict[str, Any], Path]]:
        """``import.json`` of every imported study in the order of ``subjects.csv``, and the folder that it lies in."""
        found = []
        for row in self._rows:
            about = self.folder / IMPORT_FOLDER / row["case"]
            # A dataset may hold studies that were not imported, and a user may have thrown a record away.
            with suppress(OSError, ValueError):
                found.append((json.loads((about / RECORD_FILE).read_text(encoding="utf-8")), about))
        return found

    def aside(self) -> TemporaryDirectory:
        """A folder to prepare a study in, on the same disk, removed when its block ends."""
        self._keep_salt()
        return TemporaryDirectory(dir=self.folder, prefix=_ASIDE)

    def add(self, prepared: Path, case: str, *, site: str, times_s: Sequence[float | None]) -> tuple[Path, ...]:
        """Take over a study: its four images, then what is known about it, then its row.

        Args:
            prepared: folder with ``<case>_0000.nii.gz`` to ``_0003``; whatever else is in it, ``import.json`` first of
                all, is kept with the study.
            case: its name.
            site: scanner, neutral.
            times_s: seconds after the injection per phase; None is unknown.

        Returns:
            The four images where they are now.
        """
        images, about = self.folder / images_folder(SPLIT), self.folder / IMPORT_FOLDER / case
        # Without a row these are an interrupted import's.
        shutil.rmtree(about, ignore_errors=True)
        for folder in (images, about):
            folder.mkdir(parents=True, exist_ok=True)
        files = [images / phase_file_name(case, phase) for phase in range(len(PHASES))]
        try:
            for file in files:
                (prepared / file.name).replace(file)
            for file in prepared.iterdir():
                file.replace(about / file.name)
            self._write_row(case, site, times_s)
        except BaseException:
            for file in files:
                file.unlink(missing_ok=True)
            shutil.rmtree(about, ignore_errors=True)
            raise
        return tuple(files)

    def close(self) -> None:
        """Describe the dataset for nnU-Net; without any study, leave the disk as it was before."""
        try:
            if self._rows and not (self.folder / DATASET_FILE).exists():
                with suppress(OSError):  # of a full disk the studies have told; the next import makes up for it
                    write_dataset_json(self.folder, _DATASET_NAME, sum(row["split"] != SPLIT for row in self._rows))
        finally:
            self._leave()

    def _leave(self) -> None:
        if not self._rows and self._own_salt and self._wrote_salt:
            self._salt_file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()
        if not self._rows:
            with suppress(OSError):  # something else has come into it
                for place in self._made:
                    place.rmdir()

    def _require_dataset(self) -> None:
        """Refuse a folder with a stranger's files.

        Raises:
            ConfigurationError: it is one, or no folder.
        """
        if self.folder.exists() and not self.folder.is_dir():
            msg = f"output_dir {self.folder} is a file. Give a folder."
            raise ConfigurationError(msg)
        there = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        there = {name for name in there - {SALT_FILE, LOCK_FILE} if not _LEFTOVER.fullmatch(name)}
        # An import that was killed in its first study has not come to the table.
        interrupted = there <= {images_folder(SPLIT), IMPORT_FOLDER} and self._salt_file.is_file()
        if there and not interrupted and not self._table.is_file():
            msg = (
                f"output_dir {self.folder} holds other things than a dataset with {SUBJECTS_FILE}. Give a new folder, "
                "or the one of an earlier import."
            )
            raise ConfigurationError(msg)

    def _read_rows(self) -> list[dict[str, str]]:
        return read_rows(self._table) if self._table.is_file() else []

    def _remove_leftovers(self) -> None:
        """Those of imports that were killed; nobody else is here, as the lock is held."""
        for path in self.folder.iterdir():
            if _LEFTOVER.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _find_salt(self) -> Salt:
        if self._salt_file.exists():
            salt = Salt.read(self._salt_file)
        elif self._own_salt and self.records():
            msg = (
                f"output_dir {self.folder}: its studies were imported with a salt that is not in it, so the same study "
                "would come again under another name. Give the file with --salt_file."
            )
            raise ConfigurationError(msg)
        else:
            salt = Salt.new()
        used = {record.get("salt") for record, _ in self.records()}
        if used - {salt.fingerprint}:
            msg = (
                f"output_dir {self.folder}: its studies were imported with another salt than that of "
                f"{self._salt_file}. Give the file of the earlier import with --salt_file, or another output_dir."
            )
            raise ConfigurationError(msg)
        return salt

    def _keep_salt(self) -> None:
        """Before the first name made with it can reach the disk.

        Raises:
            ConfigurationError: it cannot be written, or an import into another folder has come before with its own.
        """
        if not self._salt_file.exists():
            self.salt.write(self._salt_file)
            self._wrote_salt = True
        elif Salt.read(self._salt_file).fingerprint != self.salt.fingerprint:
            msg = f"{self._salt_file}: another import has made this salt meanwhile. Start this import again."
            raise ConfigurationError(msg)

    def _write_row(self, case: str, site: str, times_s: Sequence[float | None]) -> None:
        times = ["" if time is None else f"{time:.6g}" for time in times_s]
        row = {"case": case, "class": "", "split": SPLIT, "fold": "", "site": site}
        # Imports wait for each other, but a user may have edited the table.
        before = self._read_rows()
        rows = [*before, row | dict(zip(TIME_COLUMNS, times, strict=True))]
        # A user's own columns and values stay as they are.
        columns = list(before[0]) if before else list(COLUMNS)
        with replace_when_written(self._table) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        self._rows = rows


def unwritable(error: OSError) -> str:
    """What to say of a disk that does not take the dataset; without the path, which may name a patient's folder."""
    reason = error.strerror or type(error).__name__
    return f"{UNWRITABLE}: {reason}. Free space or give another folder"
