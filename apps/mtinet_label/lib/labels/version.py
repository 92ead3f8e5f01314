"""One version of a label on disk: ``v0001/{label.json, mask.nii.gz}``, written once and never changed."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from lib.labels.label import DIAGNOSES, Label, LesionLabel
from scripts.domain.classes import CLASSES

LABEL_FILE, MASK_FILE = "label.json", "mask.nii.gz"
FOLDER_PATTERN = re.compile(r"v(\d{4,})")
_FORMAT = 1


def folder_name(version: int) -> str:
    """``v0001`` for version 1."""
    return f"v{version:04d}"


def write_label(label: Label, folder: Path) -> None:
    """Write ``label.json`` beside the mask that is there already, with the mask's hash."""
    mask = folder / MASK_FILE
    content = {
        "format": _FORMAT,
        "case": label.case_id,
        "version": label.version,
        "diagnosis": label.diagnosis,
        "reader": label.reader,
        "saved_at": label.saved_at,
        "note": label.note,
        "mask_sha256": _sha256(mask) if label.mask_file is not None else None,
        "lesions": [{"id": x.id, "class": x.tumour_class, "volume_ml": x.volume_ml} for x in label.lesions],
    }
    (folder / LABEL_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_label(folder: Path, *, case_id: str) -> Label | None:
    """A version; None where its files are not what was written.

    Args:
        folder: of the version.
        case_id: that it must be of.
    """
    try:
        content = json.loads((folder / LABEL_FILE).read_text(encoding="utf-8"))
        label = _label(content, folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return label if label.case_id == case_id and folder.name == folder_name(label.version) else None


def _label(content: dict[str, Any], folder: Path) -> Label:
    mask, sha256 = folder / MASK_FILE, content["mask_sha256"]
    label = Label(
        case_id=str(content["case"]),
        version=int(content["version"]),
        mask_file=None if sha256 is None else mask,
        lesions=tuple(LesionLabel(int(x["id"]), x["class"], float(x["volume_ml"])) for x in content["lesions"]),
        diagnosis=content["diagnosis"],
        reader=str(content["reader"]),
        saved_at=str(content["saved_at"]),
        note=str(content["note"]),
    )
    datetime.fromisoformat(label.saved_at)
    sound = (
        content["format"] == _FORMAT
        and label.diagnosis in (*DIAGNOSES, "")
        and all(lesion.tumour_class in CLASSES for lesion in label.lesions)
        and (sha256 is None or sha256 == _sha256(mask))
    )
    if not sound:
        msg = "not what was written"
        raise ValueError(msg)
    return label


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
