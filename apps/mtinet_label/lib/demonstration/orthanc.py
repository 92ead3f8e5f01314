"""An Orthanc of one's own: a small PACS with DICOMweb, on loopback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import requests

from lib.demonstration.processes import Background, DemonstrationError, free_port
from scripts.domain.writing import replace_when_written

_PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc", "/usr/local/share/orthanc/plugins")
_PLUGIN = "libOrthancDicomWeb.so"
_INSTALL = "apt-get install orthanc orthanc-dicomweb"
_STARTS_WITHIN_S = 60.0


def _program() -> str:
    # Debian puts it where an ordinary user's PATH does not look.
    found = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        msg = f"Orthanc, the PACS of the demonstration, is not installed: {_INSTALL}"
        raise DemonstrationError(msg)
    return found


def _plugin() -> Path:
    found = next((file for folder in _PLUGIN_FOLDERS if (file := Path(folder, _PLUGIN)).exists()), None)
    if found is None:
        msg = f"Orthanc's DICOMweb plug-in is not installed: {_INSTALL}"
        raise DemonstrationError(msg)
    return found


class Orthanc(Background):
    """A running Orthanc; a context manager.

    Args:
        folder: of its studies and its log; made where it does not exist.

    Raises:
        DemonstrationError: it is not installed.
    """

    def __init__(self, folder: Path) -> None:
        program, plugin = _program(), _plugin()
        port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": "MTI-Net demonstration",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "Plugins": [str(plugin)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        file = folder / "orthanc.json"
        with replace_when_written(file) as aside:
            aside.write_text(json.dumps(settings, indent=1))
        self.address = f"http://127.0.0.1:{port}"
        super().__init__("Orthanc", [program, str(file)], log=folder / "orthanc.log")

    @property
    def dicom_web(self) -> str:
        """Address of its DICOMweb root."""
        return f"{self.address}/dicom-web"

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            DemonstrationError: it does not.
        """
        self.wait_for(f"{self.address}/system", seconds=_STARTS_WITHIN_S)

    def load(self, files: Iterable[Path]) -> None:
        """Store files; those that it has already stay as they are.

        Raises:
            DemonstrationError: it refuses one.
        """
        with requests.Session() as session:
            session.trust_env = False
            for file in files:
                answer = session.post(f"{self.address}/instances", data=file.read_bytes(), timeout=60)
                if not answer.ok:
                    msg = f"Orthanc does not take a phantom file ({answer.status_code})"
                    raise DemonstrationError(msg)

    def studies(self) -> list[str]:
        """StudyInstanceUIDs of what it holds."""
        with requests.Session() as session:
            session.trust_env = False
            found = session.get(f"{self.dicom_web}/studies", timeout=60).json()
        return sorted(study["0020000D"]["Value"][0] for study in found)
