"""A result back from its JSON form, ``Result.to_dict``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.domain.result import Enhancement, Lesion, Result

_CURVES = ("regressed", "from_mask", "ring", "relative")


def result_of(document: Mapping[str, Any]) -> Result:
    """The result that a document was made of.

    Args:
        document: as ``Result.to_dict`` gives it.

    Raises:
        KeyError: an entry is missing.
        TypeError: an entry is none of a result's.
    """
    entries = _renamed(document)
    return Result(
        **entries
        | {
            "phases": tuple(entries["phases"]),
            "lesions": tuple(_lesion(lesion) for lesion in entries["lesions"]),
            "notes": tuple(entries["notes"]),
        }
    )


def _lesion(document: Mapping[str, Any]) -> Lesion:
    entries = _renamed(document)
    enhancement = {name: tuple(value) if name in _CURVES else value for name, value in entries["enhancement"].items()}
    return Lesion(**entries | {"centroid_mm": tuple(entries["centroid_mm"]), "enhancement": Enhancement(**enhancement)})


def _renamed(document: Mapping[str, Any]) -> dict[str, Any]:
    return {("predicted_class" if name == "class" else name): value for name, value in document.items()}
