"""What datasets call the four phases in their own descriptions, such as Decathlon's modality names."""

from __future__ import annotations

import re

from ...domain.phases import PHASES

_NAMES = {
    "pre": "pre precontrast native plain unenhanced nonenhanced noncontrast nocontrast cpre",
    "arterial": "arterial art latearterial hepaticarterial hap ap ca",
    "portal_venous": "portalvenous portal venous portovenous pv pvp vp cv",
    "delayed": "delayed delay late equilibrium dp ep cdelay cdelayed",
}
_PHASE_OF = {name: phase for phase in PHASES for name in _NAMES[phase].split()}
_AROUND = re.compile(r"^(?:mri|mr|dce|t1w|t1)+|phase$")


def phase_of(name: str) -> str | None:
    """The phase that a name stands for, e.g. ``T1 portal-venous phase`` or ``C+V``; None where it is not known."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return _PHASE_OF.get(letters) or _PHASE_OF.get(_AROUND.sub("", letters))
