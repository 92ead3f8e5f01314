"""The labels of all studies on disk: every version is kept, and a crash loses none."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lib.errors import AppError, BadRequestError, UnknownError
from lib.labels.dataset_labels import DatasetLabels
from lib.labels.label import DIAGNOSES, Label
from lib.labels.lesions import checked
from lib.labels.revision import Revision, revise
from lib.labels.version import FOLDER_PATTERN, MASK_FILE, folder_name, read_label, write_label
from lib.studies.study import OpenStudy, ViewerGrid
from lib.whole_folder import new_folder, remove_leftovers
from scripts.domain.writing import replace_when_written
from scripts.studies.case import Case
from scripts.studies.nifti_writing import write_nifti
from scripts.studies.subjects_table import CASE_PATTERN

logger = logging.getLogger(__name__)

SENT_FILE = "sent.json"
ORIGINAL_FILE = "original.nii.gz"
_REMOVED_FOLDER = ".removed"
_LONGEST_ID = 128
_READER = re.compile(r"[\w .@+-]{0,64}")
_NOTE = re.compile(r"[^\x00-\x1f\x7f]{0,500}")


class LabelStore:
    """What readers said: ``<folder>/<case>/v0001/{label.json, mask.nii.gz}``.

    A version is written aside, brought to the disk and renamed: it is there whole or not at all, and the versions
    before it are never touched. What cannot be read back as it was written does not count.

    Args:
        folder: made if it is missing.
        dataset: gives the cases whose label files count as labels, of version 0; None where there are none.
    """

    def __init__(self, folder: Path, *, dataset: Callable[[], Mapping[str, Case]] | None = None) -> None:
        self.folder = folder
        self.dataset = None if dataset is None else DatasetLabels(dataset)
        self._lock = threading.RLock()
        self._read: dict[Path, Label | None] = {}
        self._when_saved: list[Callable[[Label], None]] = []
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for case_folder in self._case_folders():
            remove_leftovers(case_folder)

    def when_saved(self, tell: Callable[[Label], None]) -> None:
        """Have a function called after every save."""
        self._when_saved.append(tell)

    def save(
        self,
        case_id: str,
        *,
        mask: np.ndarray | None,
        study: OpenStudy,
        diagnosis: str | None,
        reader: str,
        note: str = "",
    ) -> Label:
        """Save a new version.

        A study without a lesion has an empty mask: the diagnosis "none" makes one where no mask was given yet. A mask
        with lesions withdraws an earlier "none".

        Args:
            case_id: the study.
            mask: ``(X, Y, Z)`` of ``LABELS`` values on the study's reference grid, in the order of its file; None keeps
                the previous one.
            study: the study.
            diagnosis: one of ``DIAGNOSES``; None or ``""`` keeps the previous one.
            reader: who; letters, digits and ``. @ + - _``, at most 64.
            note: one line, nothing about the patient.

        Returns:
            The new version.

        Raises:
            UnknownError: the case's name cannot be one.
            BadRequestError: nothing to save, a mask on another grid or with other values, an unknown diagnosis, or one
                that contradicts the mask.
            AppError: the disk does not take it; the versions before are untouched.
        """
        folder = self._case_folder(case_id)
        if study.case_id != case_id:
            msg = "the label's study is another one"
            raise BadRequestError(msg)
        _check(mask, diagnosis, reader, note)
        grid = study.grid(study.reference)
        mask = None if mask is None else checked(np.asarray(mask), grid)
        with self._lock:
            label = None
            while label is None:
                # The number first: what another server with this folder saves from now on takes it, and shows that
                # what is kept of the version before has to be looked at again.
                version = max(_version_numbers(folder), default=0) + 1
                revision = revise(self.latest(case_id), mask, grid, diagnosis or None)
                try:
                    label = self._write(folder, case_id, version, revision, grid, reader=reader, note=note)
                except OSError as error:
                    if isinstance(error, FileExistsError) and folder.is_dir():
                        continue
                    # Its message would name the place.
                    msg = f"the label cannot be written on this server ({error.strerror}); nothing was changed"
                    raise AppError(msg) from error
        for tell in self._when_saved:
            try:
                tell(label)
            except Exception as error:  # the label is safe, and whoever listens must not make it look lost
                logger.error("a label was saved, and what follows a save failed (%s)", type(error).__name__)
        return label

    def latest(self, case_id: str) -> Label | None:
        """The newest version that can be read; the dataset's own where no reader said anything."""
        return self.saved(case_id) or self._given(case_id)

    def saved(self, case_id: str) -> Label | None:
        """The newest of the readers' versions that can be read."""
        folder = self._case_folder(case_id)
        versions = (folder / folder_name(version) for version in sorted(_version_numbers(folder), reverse=True))
        return next(filter(None, (self._label(version, case_id) for version in versions)), None)

    def given(self) -> set[str]:
        """The cases whose mask came with the dataset; none is opened."""
        return set() if self.dataset is None else self.dataset.cases()

    def versions(self, case_id: str) -> list[Label]:
        """All versions that can be read, the oldest first."""
        folder = self._case_folder(case_id)
        saved = (self._label(folder / folder_name(version), case_id) for version in sorted(_version_numbers(folder)))
        return [label for label in (self._given(case_id), *saved) if label is not None]

    def labelled(self) -> list[str]:
        """The cases whose latest label has a mask, sorted; a diagnosis alone is not enough to train on."""
        saved = {folder.name: self.saved(folder.name) for folder in self._case_folders()}
        without = {case for case, label in saved.items() if label is not None and label.mask_file is None}
        drawn = {case for case, label in saved.items() if label is not None and label.mask_file is not None}
        return sorted(drawn | (self.given() - without))

    def remove(self, case_id: str) -> None:
        """Take a study's labels away; its versions are kept aside, in ``.removed``.

        Raises:
            UnknownError: it has none.
            BadRequestError: its label belongs to the dataset.
        """
        folder = self._case_folder(case_id)
        with self._lock:
            if not list(_version_numbers(folder)):
                if self._given(case_id) is not None:
                    msg = "this label came with the dataset and cannot be removed here"
                    raise BadRequestError(msg)
                msg = "the study has no label"
                raise UnknownError(msg)
            graves = self.folder / _REMOVED_FOLDER
            graves.mkdir(exist_ok=True)
            now = datetime.now(UTC)
            folder.rename(graves / f"{case_id}-{now:%Y%m%dT%H%M%S%f}")
            for version in [path for path in self._read if path.parent == folder]:
                del self._read[version]

    def keep_original(self, case_id: str, mask: np.ndarray, study: OpenStudy) -> None:
        """Keep a mask that a client calls the original one: the model's own output, which never is a label.

        Raises:
            BadRequestError: as ``save``.
        """
        folder, grid = self._case_folder(case_id), study.grid(study.reference)
        mask = checked(np.asarray(mask), grid)
        with self._lock, replace_when_written(folder / ORIGINAL_FILE) as aside:
            write_nifti(mask, grid.affine, aside)

    def original(self, case_id: str) -> Path | None:
        """The mask that ``keep_original`` kept."""
        file = self._case_folder(case_id) / ORIGINAL_FILE
        return file if file.is_file() else None

    def remove_original(self, case_id: str) -> None:
        """Throw away what ``keep_original`` kept."""
        (self._case_folder(case_id) / ORIGINAL_FILE).unlink(missing_ok=True)

    def unsent(self) -> list[Label]:
        """The latest labels with a lesion, without those of the dataset, that ``mark_sent`` does not know."""
        latest = (self.saved(folder.name) for folder in self._case_folders())
        return [label for label in latest if label is not None and label.lesions and not self.is_sent(label)]

    def is_sent(self, label: Label) -> bool:
        """Whether the PACS has a version."""
        return (self._version_folder(label) / SENT_FILE).is_file()

    def mark_sent(self, label: Label, *, sop_instance_uid: str) -> None:
        """Remember that the PACS has a version."""
        folder = self._version_folder(label)
        if folder.is_dir():  # not removed meanwhile
            content = {"sop_instance_uid": sop_instance_uid, "sent_at": _now()}
            with replace_when_written(folder / SENT_FILE) as aside:
                aside.write_text(json.dumps(content) + "\n", encoding="utf-8")

    def _write(
        self, folder: Path, case_id: str, version: int, revision: Revision, grid: ViewerGrid, **said: str
    ) -> Label:
        final = folder / folder_name(version)
        label = Label(
            case_id=case_id,
            version=version,
            mask_file=final / MASK_FILE if revision.has_mask else None,
            lesions=revision.lesions,
            diagnosis=revision.diagnosis,
            saved_at=_now(),
            **said,
        )
        with new_folder(final, durable=True) as aside:
            if revision.mask is not None:
                write_nifti(revision.mask, grid.affine, aside / MASK_FILE)
            elif revision.kept is not None:
                shutil.copyfile(revision.kept, aside / MASK_FILE)
            write_label(label, aside)
        self._read[final] = label
        return label

    def _given(self, case_id: str) -> Label | None:
        return None if self.dataset is None else self.dataset.label(case_id)

    def _label(self, folder: Path, case_id: str) -> Label | None:
        """A version, read once: it never changes."""
        with self._lock:
            if folder not in self._read:
                self._read[folder] = read_label(folder, case_id=case_id)
                if self._read[folder] is None:
                    logger.error("version %s of a label is damaged and does not count", folder.name)
            return self._read[folder]

    def _version_folder(self, label: Label) -> Path:
        return self._case_folder(label.case_id) / folder_name(label.version)

    def _case_folders(self) -> list[Path]:
        with os.scandir(self.folder) as entries:
            return sorted(Path(entry.path) for entry in entries if _is_case(entry.name) and entry.is_dir())

    def _case_folder(self, case_id: str) -> Path:
        if not _is_case(case_id):
            msg = "no such study: its name holds characters that no study's name has"
            raise UnknownError(msg)
        return self.folder / case_id


def _is_case(name: str) -> bool:
    return len(name) <= _LONGEST_ID and CASE_PATTERN.fullmatch(name) is not None


def _version_numbers(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [int(match[1]) for match in map(FOLDER_PATTERN.fullmatch, names) if match]


def _check(mask: np.ndarray | None, diagnosis: str | None, reader: str, note: str) -> None:
    if mask is None and not diagnosis:
        msg = "there is nothing to save: give a mask, a diagnosis or both"
        raise BadRequestError(msg)
    if diagnosis and diagnosis not in DIAGNOSES:
        msg = f"the diagnosis is none of {', '.join(DIAGNOSES)}"
        raise BadRequestError(msg)
    if not _READER.fullmatch(reader):
        msg = "the reader's name holds other characters than letters, digits, spaces and . _ @ + -, or over 64 of them"
        raise BadRequestError(msg)
    if not _NOTE.fullmatch(note):
        msg = "the note is not one line of at most 500 characters"
        raise BadRequestError(msg)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
