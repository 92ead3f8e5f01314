"""The source that ``--studies`` means."""

from __future__ import annotations

import os
from pathlib import Path

from lib.settings import Settings
from lib.studies.dicomweb import DicomwebSource
from lib.studies.folder import FolderSource
from lib.studies.study import StudySource

CACHE_FOLDER = "studies"
"""In the state folder."""


def is_address(studies: str) -> bool:
    """Whether ``--studies`` is the address of a server, and not a folder."""
    return studies.startswith(("http://", "https://"))


def pacs_auth() -> tuple[str, str] | None:
    """Name and password for the PACS, from the variables that MONAI Label has for them."""
    name, password = (os.environ.get(f"MONAI_LABEL_DICOMWEB_{what}", "") for what in ("USERNAME", "PASSWORD"))
    return (name, password) if name and password else None


def source_for(studies: str, settings: Settings) -> StudySource:
    """The source of a folder's or a DICOMweb server's studies.

    Args:
        studies: a folder, or ``http://`` or ``https://`` and so on.
        settings: ``state``, ``register``, ``waiting`` and ``cache_gb`` are used.

    Raises:
        ConfigurationError: no such folder.
        DatasetError: its ``subjects.csv`` breaks its contract.
    """
    if not is_address(studies):
        return FolderSource(Path(studies))
    return DicomwebSource(
        studies,
        # Studies that were registered in another way are other files.
        settings.state_dir / CACHE_FOLDER / settings.register,
        register=settings.register,
        auth=pacs_auth(),
        waiting=settings.waiting,
        most_bytes=settings.cache_gb * 10**9,
    )
