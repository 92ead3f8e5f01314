"""What the header of a stack tells about its contrast phase, in words that hold nothing a person typed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from .stack import SECONDS_A_DAY, Stack, past_midnight
from .vocabulary import Words, in_words, read_description

_AGENT_PHASES = {
    "PRE_CONTRAST": "pre",
    "ARTERIAL": "arterial",
    "PORTAL_VENOUS": "portal_venous",
    "VENOUS": "portal_venous",
    "DELAYED": "delayed",
}
"""ContrastBolusAgentPhase (0018,9344) of enhanced MR; its other values name no liver phase."""

_COMPONENTS = {
    "water": {"W", "WATER"},
    "fat": {"F", "FAT"},
    "in_phase": {"IP", "IN_PHASE", "INPHASE", "IN PHASE"},
    "opposed_phase": {"OP", "OPP_PHASE", "OPPOSED_PHASE", "OUT_PHASE", "OUTPHASE", "OUT OF PHASE", "OPP PHASE"},
}
_NO_AGENT = {"", "0", "NO", "NONE", "N", "WITHOUT", "FALSE"}

LONGEST_TR_MS = 15.0
LONGEST_TE_MS = 6.0
FLIP_ANGLES_DEG = (5.0, 35.0)
"""Of three-dimensional spoiled gradient echoes; the liver protocols of the vendors have 3-6 ms, 1-3 ms and 8-20."""

FLAT_FLIP_ANGLES_DEG = (50.0, 95.0)
FLAT_TR_MS = (60.0, 350.0)
"""Of the older two-dimensional multislice spoiled gradient echoes."""

LONGEST_T1_TE_MS = 10.0
SAME_TIME_S = 1.0
SAME_BOLUS_S = 5.0
BALANCED_FLIP_DEG = 35.0


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of one stack.

    Args:
        stack: whose facts they are.
        words: of its description.
        image_type: ImageType, upper case.
        component: of a Dixon or dual-echo set, as in ``Words``.
        fat_suppressed: by its tags, sequence, component or description.
        contrast: whether a contrast agent is tagged.
        agent_phase: phase that the header itself names (enhanced MR); empty otherwise.
        bolus_start_s: ContrastBolusStartTime, s after midnight.
        clock_s: start of its acquisition, s after midnight; trigger times are added where parts of a series share one
            AcquisitionTime.
        clock_shared: whether an earlier part of its series has the same clock, so that it is no time of this one.
        tr_ms: RepetitionTime.
        te_ms: EchoTime.
        flip_deg: FlipAngle.
        weighting: what the sequence is that is no T1-weighted gradient echo; empty otherwise.
        t1: whether something says that it is a T1-weighted gradient echo.
    """

    stack: Stack
    words: Words
    image_type: tuple[str, ...] = ()
    component: str = ""
    fat_suppressed: bool = False
    contrast: bool = False
    agent_phase: str = ""
    bolus_start_s: float | None = None
    clock_s: float | None = None
    clock_shared: bool = False
    tr_ms: float | None = None
    te_ms: float | None = None
    flip_deg: float | None = None
    weighting: str = ""
    t1: bool = False

    @property
    def phase_word(self) -> str:
        """Phase that the header or the description names; empty where none."""
        return self.agent_phase or self.words.phase

    @property
    def quality(self) -> int:
        """Rank among images of one moment: fat-suppressed over plain over in-phase over opposed-phase ones."""
        if self.component in ("in_phase", "opposed_phase"):
            return 1 if self.component == "in_phase" else 0
        return 3 if self.fat_suppressed else 2


def facts_of(stacks: Sequence[Stack]) -> list[Facts]:
    """Read the headers.

    Args:
        stacks: of one study; the clock of a stack depends on the other parts of its series.
    """
    clocks = _clocks(stacks)
    return [_facts(stack, *clocks[stack]) for stack in stacks]


def bolus_start_s(facts: Sequence[Facts]) -> float | None:
    """Start of the injection, s after midnight; None where no header says so, or what they say cannot be.

    Some scanners write the time of the registration, or one per series.
    """
    starts_s = past_midnight([fact.bolus_start_s for fact in facts if fact.bolus_start_s is not None])
    if not starts_s or max(starts_s) - min(starts_s) > SAME_BOLUS_S:
        return None
    clocks_s = [fact.clock_s for fact in facts if fact.clock_s is not None]
    # It comes without a date, so midnight may lie between it and the images.
    possible_s = (starts_s[0] + days * SECONDS_A_DAY for days in (0, 1, -1))
    return next((start_s for start_s in possible_s if any(5.0 < time_s - start_s < 400.0 for time_s in clocks_s)), None)


def sentences(fact: Facts, others: Sequence[Facts]) -> list[str]:
    """Evidence of one stack that does not depend on time and order.

    Args:
        fact: of the stack.
        others: the study's other candidates.
    """
    lines = []
    if fact.agent_phase:
        lines.append(f"the header names the contrast phase: {in_words(fact.agent_phase)}")
    if fact.words.phase:
        lines.append(f'the description has the term "{fact.words.term}" for the {in_words(fact.words.phase)} phase')
    elif fact.words.contrast:
        lines.append(f'the description has the term "{fact.words.contrast}" for contrast agent')
    tagged = [other.contrast for other in others]
    if fact.contrast:
        known = "agent and start of the bolus" if fact.bolus_start_s is not None else "agent"
        lines.append(f"contrast {known} tagged{', as in all candidates' if all(tagged) else ''}")
    elif any(tagged):
        lines.append("no contrast agent tagged, but other candidates have one")
    if fact.t1:
        values = (("TR", fact.tr_ms, " ms"), ("TE", fact.te_ms, " ms"), ("flip angle", fact.flip_deg, " degrees"))
        numbers = ", ".join(f"{name} {value:.3g}{unit}" for name, value, unit in values if value is not None)
        name = f'"{fact.words.sequence}"' if fact.words.sequence else ""
        lines.append(f"T1-weighted gradient echo ({', '.join(filter(None, (name, numbers)))})")
    if fact.component == "water":
        lines.append("Dixon water image")
    elif fact.component:
        lines.append(f"{fact.component.replace('_', '-')} image, for want of a fat-suppressed one")
    elif fact.fat_suppressed:
        lines.append("fat-suppressed")
    return lines


def _facts(stack: Stack, clock_s: float | None, clock_shared: bool) -> Facts:
    header = stack.header
    words = read_description(stack.description or text_of(header, "ProtocolName"))
    image_type = tuple(str(value).upper() for value in _values(header, "ImageType"))
    component = _component(image_type, words)
    tr_ms, te_ms, flip_deg = (_number(header, name) for name in ("RepetitionTime", "EchoTime", "FlipAngle"))
    agent_phase = _AGENT_PHASES.get(text_of(header, "ContrastBolusAgentPhase").upper(), "")
    weighting = _weighting(header, te_ms, flip_deg)
    return Facts(
        stack=stack,
        words=words,
        image_type=image_type,
        component=component,
        fat_suppressed=_fat_suppressed(header, words, component),
        contrast=_contrast(header) and agent_phase != "pre",
        agent_phase=agent_phase,
        bolus_start_s=_bolus_start_s(header),
        clock_s=clock_s,
        clock_shared=clock_shared,
        tr_ms=tr_ms,
        te_ms=te_ms,
        flip_deg=flip_deg,
        weighting=weighting,
        t1=not weighting and (bool(words.sequence) or _spoiled_gradient_echo(header, tr_ms, te_ms, flip_deg)),
    )


def _clocks(stacks: Sequence[Stack]) -> Mapping[Stack, tuple[float | None, bool]]:
    """Seconds after midnight per stack, and whether they are only those of an earlier part of the series."""
    series: dict[tuple, list[Stack]] = {}
    for stack in sorted(stacks, key=lambda stack: stack.part_index):
        # The water and fat images of one moment share its time rightly.
        image_type = tuple(str(value) for value in _values(stack.header, "ImageType"))
        series.setdefault((stack.series_uid, image_type), []).append(stack)
    clocks: dict[Stack, tuple[float | None, bool]] = {}
    for parts in series.values():
        times_s = [_clock_s(part) for part in parts]
        known_s = [time_s for time_s in times_s if time_s is not None]
        offsets_s = [offset_s for offset_s in map(_offset_s, parts) if offset_s is not None]
        shared = len(parts) > 1 and bool(known_s) and max(known_s) - min(known_s) <= SAME_TIME_S
        if shared and len(offsets_s) == len(parts) and max(offsets_s) - min(offsets_s) > SAME_TIME_S:
            times_s = [min(known_s) + offset_s - min(offsets_s) for offset_s in offsets_s]
            shared = False
        for number, (part, time_s) in enumerate(zip(parts, times_s, strict=True)):
            clocks[part] = (time_s, shared and number > 0)
    known_s = [time_s for time_s, _ in clocks.values() if time_s is not None]
    if len({uid for uid, _ in series}) > 1 and known_s and max(known_s) - min(known_s) <= SAME_TIME_S:
        return dict.fromkeys(stacks, (None, False))  # one time for all: an anonymiser's work
    later = dict(zip(known_s, past_midnight(known_s), strict=True))
    return {stack: (later.get(time_s), shared) for stack, (time_s, shared) in clocks.items()}


def _clock_s(stack: Stack) -> float | None:
    if stack.acquisition_time_s is not None:
        return stack.acquisition_time_s
    for keyword in ("SeriesTime", "ContentTime"):
        time_s = seconds(text_of(stack.header, keyword))
        if time_s is not None:
            return time_s
    return None


def _offset_s(stack: Stack) -> float | None:
    """Time since the start of the series that the first frame tells."""
    frame = stack.frames[0]
    if frame.trigger_time_ms is not None:
        return frame.trigger_time_ms / 1000.0
    return _number(frame.header, "TemporalPositionTimeOffset")


def _bolus_start_s(header: Dataset) -> float | None:
    time_s = seconds(text_of(header, "ContrastBolusStartTime"))
    if time_s is not None:
        return time_s
    for agent in _items(header, "ContrastBolusAgentSequence"):
        for profile in _items(agent, "ContrastAdministrationProfileSequence"):
            time_s = seconds(text_of(profile, "ContrastBolusStartTime"))
            if time_s is not None:
                return time_s
    return None


def _contrast(header: Dataset) -> bool:
    administered = text_of(header, "ContrastBolusAgentAdministered").upper()
    if administered:
        return administered == "YES"
    if text_of(header, "ContrastBolusAgent").upper() not in _NO_AGENT:
        return True
    return (
        bool(_number(header, "ContrastBolusVolume"))
        or bool(text_of(header, "ContrastBolusStartTime"))
        or bool(_items(header, "ContrastBolusAgentSequence"))
    )


def _component(image_type: tuple[str, ...], words: Words) -> str:
    for component, names in _COMPONENTS.items():
        if names & set(image_type[2:]):
            return component
    return words.component


def _fat_suppressed(header: Dataset, words: Words, component: str) -> bool:
    if component:
        return component == "water"
    options = {str(value).upper() for value in _values(header, "ScanOptions")}
    suppressed = text_of(header, "SpectrallySelectedSuppression").upper()
    return bool(words.fat_suppression) or bool(options & {"FS", "SFS", "FATSAT"}) or suppressed.startswith("FAT")


def _weighting(header: Dataset, te_ms: float | None, flip_deg: float | None) -> str:
    """What the sequence is, where it is no T1-weighted gradient echo."""
    b_value = _number(header, "DiffusionBValue")
    sequences = {str(value).upper() for value in _values(header, "ScanningSequence")}
    variants = {str(value).upper() for value in _values(header, "SequenceVariant")}
    contrast = text_of(header, "AcquisitionContrast").upper()
    if b_value or contrast == "DIFFUSION" or "EP" in sequences:
        return "diffusion-weighted or echo planar"
    if contrast in ("T2", "T2_STAR", "FLUID_ATTENUATED", "PROTON_DENSITY", "STIR"):
        return "not T1-weighted"
    if ("SE" in sequences and "GR" not in sequences) or text_of(header, "EchoPulseSequence").upper() == "SPIN":
        return "spin echo, not a gradient echo"
    if te_ms is not None and te_ms > LONGEST_T1_TE_MS:
        return f"echo time of {te_ms:.0f} ms: T2-weighted"
    if "SS" in variants and "SP" not in variants and (flip_deg or 0.0) > BALANCED_FLIP_DEG:
        return "balanced steady state, not spoiled"
    return ""


def _spoiled_gradient_echo(header: Dataset, tr_ms: float | None, te_ms: float | None, flip_deg: float | None) -> bool:
    sequences = {str(value).upper() for value in _values(header, "ScanningSequence")}
    gradient = "GR" in sequences or text_of(header, "EchoPulseSequence").upper() in ("GRADIENT", "BOTH")
    if not gradient or tr_ms is None or te_ms is None or flip_deg is None:
        return False
    fast = tr_ms <= LONGEST_TR_MS and FLIP_ANGLES_DEG[0] <= flip_deg <= FLIP_ANGLES_DEG[1]
    flat = FLAT_TR_MS[0] <= tr_ms <= FLAT_TR_MS[1] and FLAT_FLIP_ANGLES_DEG[0] <= flip_deg <= FLAT_FLIP_ANGLES_DEG[1]
    return te_ms <= LONGEST_TE_MS and (fast or flat)


def seconds(text: str) -> float | None:
    """A DICOM time (``HHMMSS.FFFFFF``, any beginning of it) in s after midnight; None where it is none."""
    digits = text.replace(":", "").strip()
    whole, _, fraction = digits.partition(".")
    if len(whole) not in (2, 4, 6) or not (whole + fraction).isdecimal():
        return None
    hours, minutes, rest_s = (int(whole[start : start + 2] or 0) for start in (0, 2, 4))
    return hours * 3600.0 + minutes * 60.0 + rest_s + float(f"0.{fraction or 0}")


def text_of(header: Dataset, keyword: str) -> str:
    """A value as text; empty where it is missing or cannot be converted."""
    with contextlib.suppress(Exception):  # pydicom raises many kinds for a value that makes no sense
        return str(header.get(keyword) or "").strip()
    return ""


def _number(header: Dataset, keyword: str) -> float | None:
    with contextlib.suppress(Exception):
        value = float(header.get(keyword))
        return value if np.isfinite(value) else None
    return None


def _values(header: Dataset, keyword: str) -> list:
    with contextlib.suppress(Exception):
        value = header.get(keyword) or []
        return [value] if isinstance(value, str) else list(value)
    return []


def _items(header: Dataset, keyword: str) -> list[Dataset]:
    with contextlib.suppress(Exception):
        return list(header.get(keyword) or [])
    return []
