"""Who made a result: the bundle and its weights, in the words of DICOM's equipment and algorithm attributes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import generate_uid

from ...domain.result import Result

METADATA_PATH = Path(__file__).resolve().parents[3] / "configs" / "metadata.json"


@dataclass(frozen=True)
class Equipment:
    """The software as a device.

    Args:
        manufacturer: the bundle's authors.
        model_name: the bundle's name.
        version: the bundle's version that made the result.
        weights_sha256: of the network's weights.
    """

    manufacturer: str
    model_name: str
    version: str
    weights_sha256: str

    @property
    def serial_number(self) -> str:
        """Start of the weights' hash: other weights are another device."""
        return self.weights_sha256[:16]

    @property
    def uid(self) -> str:
        """Device observer UID, the same for the same bundle and weights."""
        return generate_uid(entropy_srcs=[self.model_name, self.version, self.weights_sha256])

    def attributes(self) -> dict[str, str]:
        """General Equipment, as highdicom's constructors name it."""
        return {
            "manufacturer": self.manufacturer,
            "manufacturer_model_name": self.model_name,
            "software_versions": self.version,
            "device_serial_number": self.serial_number,
        }


def equipment_of(result: Result) -> Equipment:
    """The equipment behind a result, from the bundle's metadata and the result's own model."""
    metadata = json.loads(METADATA_PATH.read_text())
    return Equipment(
        manufacturer=metadata["authors"],
        model_name=metadata["name"],
        version=result.model["version"],
        weights_sha256=result.model["weights_sha256"],
    )
