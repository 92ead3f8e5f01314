"""Series that lie beside the four phases in a real study, and must be left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from .descriptions import describe
from .plan import Part, Series
from .volumes import Subject, Volume

_NO_FAT_SUPPRESSION = {"ScanOptions": "PFP"}


@dataclass(frozen=True, eq=False)
class Scene:
    """What a decoy is made from.

    Args:
        subject: in the scanner.
        parts: of the four phases, by name.
        language: of the descriptions.
    """

    subject: Subject
    parts: Mapping[str, Part]
    language: str

    def volume(self, phase: str) -> Volume:
        """Volume of a phase."""
        return self.parts[phase].volume

    def seconds(self, phase: str) -> float:
        """Start of a phase."""
        return self.parts[phase].seconds

    def blend(self, phase: str, *, inside: float, outside: float) -> Volume:
        """Before contrast, plus shares of a phase's enhancement inside and outside of the liver."""
        before, after = self.volume("pre").array, self.volume(phase).array
        share = np.where(self.subject.liver.array > 0, inside, outside)
        return self.volume(phase).with_array(before + share * (after - before))


@dataclass(frozen=True)
class Recipe:
    """How one decoy is made.

    Args:
        number: SeriesNumber; the phases have 10, 20, 30, 40.
        parts: from the scene.
        tags: over the dynamic's.
        contrast: whether it carries the contrast attributes.
        named: the role whose description it carries.
        interleaved: instance numbers run through the parts of a slice first.
    """

    number: int
    parts: Callable[[Scene], tuple[Part, ...]]
    tags: Mapping[str, Any] = field(default_factory=dict)
    contrast: bool = False
    named: str = ""
    interleaved: bool = False


def _early_arterial(scene: Scene) -> tuple[Part, ...]:
    return (Part(scene.blend("arterial", inside=0.15, outside=0.8), 17.0),)


def _transitional(scene: Scene) -> tuple[Part, ...]:
    return (Part(scene.blend("delayed", inside=0.9, outside=0.85), 300.0),)


def _hepatobiliary(scene: Scene) -> tuple[Part, ...]:
    return (Part(scene.blend("delayed", inside=1.6, outside=0.25), 1200.0),)


def _subtraction(scene: Scene) -> tuple[Part, ...]:
    difference = scene.volume("arterial").array - scene.volume("pre").array
    return (Part(scene.volume("arterial").with_array(difference.clip(0)), scene.seconds("arterial")),)


def _mpr(scene: Scene) -> tuple[Part, ...]:
    other = "axial" if scene.subject.plane == "coronal" else "coronal"
    return (Part(scene.volume("portal_venous").replanned(other), scene.seconds("portal_venous")),)


def _mip(scene: Scene) -> tuple[Part, ...]:
    volume = scene.volume("arterial")
    return (Part(volume.with_array(ndimage.maximum_filter(volume.array, (1, 1, 5))), scene.seconds("arterial")),)


def _localiser(scene: Scene) -> tuple[Part, ...]:
    parts = []
    for plane in ("axial", "sagittal", "coronal"):
        volume = scene.volume("pre").replanned(plane)
        middle = volume.array.shape[2] // 2
        parts.append(Part(volume.slab(middle, middle + 1), -900.0))
    return tuple(parts)


def _dwi(scene: Scene) -> tuple[Part, ...]:
    volume = scene.volume("pre")
    return tuple(
        Part(
            volume.with_array(volume.array * np.exp(-b / 1000.0)),
            -300.0,
            tags={"DiffusionBValue": float(b), "SequenceName": f"*ep_b{b}"},
        )
        for b in (50, 400, 800)
    )


def _before(seconds: float) -> Callable[[Scene], tuple[Part, ...]]:
    def parts(scene: Scene) -> tuple[Part, ...]:
        volume = scene.volume("pre")
        return (Part(volume.with_array(volume.array.max() - volume.array), seconds),)

    return parts


def _opposed_phase(scene: Scene) -> tuple[Part, ...]:
    return (Part(scene.volume("pre").with_array(0.8 * scene.volume("pre").array), -200.0),)


def _in_phase(scene: Scene) -> tuple[Part, ...]:
    return (Part(scene.volume("pre").with_array(1.2 * scene.volume("pre").array), -200.0),)


def _dixon_in_phase(scene: Scene) -> tuple[Part, ...]:
    volume = scene.volume("arterial")
    return (Part(volume.with_array(1.1 * volume.array + 40.0), scene.seconds("arterial")),)


def _dixon_fat(scene: Scene) -> tuple[Part, ...]:
    volume = scene.volume("arterial")
    return (Part(volume.with_array(0.1 * volume.array), scene.seconds("arterial")),)


def _aborted(scene: Scene) -> tuple[Part, ...]:
    volume = scene.volume("portal_venous")
    return (Part(volume.slab(0, max(2, volume.array.shape[2] // 3)), scene.seconds("portal_venous") - 10.0),)


def _breathed(scene: Scene) -> tuple[Part, ...]:
    volume = scene.volume("pre")
    ghost = np.roll(volume.array, volume.array.shape[1] // 4, axis=1)
    return (Part(volume.with_array(0.7 * volume.array + 0.3 * ghost), scene.seconds("pre") - 40.0),)


def _duplicate(scene: Scene) -> tuple[Part, ...]:
    return (Part(scene.volume("arterial"), scene.seconds("arterial")),)


def _pelvis(scene: Scene) -> tuple[Part, ...]:
    volume = scene.volume("delayed")
    return (Part(volume.with_array(volume.array[::-1, ::-1]).moved((4.0, 10.0, -330.0)), 240.0),)


_SPIN_ECHO = {
    "ScanningSequence": "SE",
    "SequenceVariant": ["SK", "SP", "OSP"],
    "ScanOptions": "PFP",
    "MRAcquisitionType": "2D",
    "RepetitionTime": 1500.0,
    "EchoTime": 92.0,
    "FlipAngle": 150.0,
    "EchoTrainLength": 200,
    "SequenceName": "*h2d1_200",
}
_DUAL_ECHO = _NO_FAT_SUPPRESSION | {
    "MRAcquisitionType": "2D",
    "RepetitionTime": 140.0,
    "FlipAngle": 70.0,
    "SequenceName": "*fl2d2",
}

DECOYS: dict[str, Recipe] = {
    "localiser": Recipe(
        1,
        _localiser,
        {"ScanOptions": "", "MRAcquisitionType": "2D", "RepetitionTime": 7.5, "EchoTime": 3.7, "FlipAngle": 20.0},
    ),
    "t2": Recipe(2, _before(-600.0), _SPIN_ECHO),
    "in_phase": Recipe(
        3,
        _in_phase,
        _DUAL_ECHO | {"ImageType": ["ORIGINAL", "PRIMARY", "M", "IN_PHASE", "NORM"], "EchoTime": 2.3},
    ),
    "opposed_phase": Recipe(
        4,
        _opposed_phase,
        _DUAL_ECHO | {"ImageType": ["ORIGINAL", "PRIMARY", "M", "OPP_PHASE", "NORM"], "EchoTime": 1.15},
    ),
    "dwi": Recipe(
        5,
        _dwi,
        {
            "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE", "NORM"],
            "ScanningSequence": "EP",
            "SequenceVariant": ["SK", "SP"],
            "MRAcquisitionType": "2D",
            "RepetitionTime": 4800.0,
            "EchoTime": 54.0,
            "FlipAngle": 90.0,
            "EchoTrainLength": 60,
        },
        interleaved=True,
    ),
    "breathed": Recipe(8, _breathed, named="pre"),
    "early_arterial": Recipe(15, _early_arterial, contrast=True),
    "subtraction": Recipe(21, _subtraction, {"ImageType": ["DERIVED", "PRIMARY", "M", "NORM", "SUB"]}, contrast=True),
    "mip": Recipe(22, _mip, {"ImageType": ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "MIP"]}, contrast=True),
    "dixon_in_phase": Recipe(
        23,
        _dixon_in_phase,
        _NO_FAT_SUPPRESSION | {"ImageType": ["ORIGINAL", "PRIMARY", "M", "IN_PHASE", "NORM"], "EchoTime": 2.46},
        contrast=True,
        named="arterial",
    ),
    "dixon_fat": Recipe(
        24,
        _dixon_fat,
        _NO_FAT_SUPPRESSION | {"ImageType": ["DERIVED", "PRIMARY", "M", "FAT", "NORM"]},
        contrast=True,
        named="arterial",
    ),
    "aborted": Recipe(25, _aborted, contrast=True, named="portal_venous"),
    "mpr": Recipe(31, _mpr, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, contrast=True),
    "pelvis": Recipe(45, _pelvis, {"BodyPartExamined": "PELVIS"}, contrast=True),
    "transitional": Recipe(50, _transitional, contrast=True),
    "hepatobiliary": Recipe(60, _hepatobiliary, contrast=True),
    "duplicate": Recipe(910, _duplicate, contrast=True, named="arterial"),
}
"""By role: derived images, other contrasts, other contrast phases, other anatomy, failed and doubled acquisitions."""


def decoy(role: str, scene: Scene, *, bolus_time: bool, times: bool, contrast: bool) -> Series:
    """The series of one decoy.

    Args:
        role: a key of ``DECOYS``.
        scene: what it is made from.
        bolus_time: whether its contrast attributes include ContrastBolusStartTime.
        times: whether there are times of acquisition.
        contrast: whether contrast attributes are written at all.
    """
    recipe = DECOYS[role]
    return Series(
        number=recipe.number,
        role=role,
        description=describe(recipe.named or role, scene.language),
        parts=recipe.parts(scene),
        tags=recipe.tags,
        contrast=contrast and recipe.contrast,
        bolus_time=bolus_time,
        times=times,
        interleaved=recipe.interleaved,
    )
