"""What the person who starts the server can set: ``monailabel start_server … --conf <key> <value>``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import scripts
from scripts.domain.errors import ConfigurationError
from scripts.domain.switches import is_on

BUNDLE_ROOT = Path(scripts.__file__).resolve().parents[1]
STATE_ROOT = BUNDLE_ROOT.parent / "runs" / "label"


@dataclass(frozen=True)
class Settings:
    """The app's settings, each a ``--conf`` key of the same name.

    Args:
        state: folder of everything that the server writes: labels, opened studies, promoted weights. By default one
            for each ``--studies``, below ``runs/label``.
        register: of DICOM phases to the arterial one: none, rigid or deformable.
        cache_gb: of opened DICOM studies on disk; those not opened for longest go first, those with a label and those
            in use never. 0 is without limit.
        waiting: analyses that may wait for their turn before the server answers that it is busy.
        max_upload_mb: of one request.
        allow_remote: answer other machines than this one.
        origins: addresses of web pages that may talk to the server, separated by commas; its own always may.
        ohif: folder of the unpacked ``@ohif/app`` package, for ``/viewer/``.
        original_data: dataset (nnU-Net raw layout) that is mixed in when the network is fine-tuned.
        epochs: of fine-tuning.
        count_dataset_labels: the masks of ``labelsTr`` and ``labelsTs`` count as labels, of version 0.
    """

    state: str = ""
    register: str = "deformable"
    cache_gb: int = 100
    waiting: int = 8
    max_upload_mb: int = 256
    allow_remote: bool = False
    origins: str = ""
    ohif: str = str(BUNDLE_ROOT.parent / "runs" / "ohif" / "package" / "dist")
    original_data: str = ""
    epochs: int = 2
    count_dataset_labels: bool = True

    @classmethod
    def of(cls, conf: Mapping[str, str], studies: str) -> Settings:
        """The settings of a ``--conf`` list; keys that are not ours belong to MONAI Label.

        Args:
            conf: by key.
            studies: the folder or address of the studies.

        Raises:
            ConfigurationError: a value that is none.
        """
        given = {}
        for field in fields(cls):
            if field.name not in conf:
                continue
            text = str(conf[field.name])
            try:
                given[field.name] = {"int": int, "bool": is_on}.get(field.type, str)(text)
            except ValueError as error:
                msg = f"--conf {field.name} {text!r} is no {field.type}"
                raise ConfigurationError(msg) from error
        if not given.get("state"):
            given["state"] = str(STATE_ROOT / hashlib.sha256(studies.encode()).hexdigest()[:12])
        return cls(**given)

    @property
    def state_dir(self) -> Path:
        """``state`` as a path."""
        return Path(self.state)
