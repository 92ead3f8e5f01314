"""Which stacks of a study cannot be a contrast phase, or only a worse image of one, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .evidence import SAME_TIME_S, Facts
from .stack import Stack

LEAST_SLICES = 8
"""A liver is 15 cm high; fewer slices are a localiser, a bolus-tracking scan or a broken-off series."""

LEAST_EXTENT = 0.6
"""Of the usual extent along the normal: shorter ones were broken off or planned for something else."""

LEAST_OVERLAP = 0.3
"""Of the volume that a stack shares with the usual coverage; breathing and replanning take less than half."""

SAME_PLANE_COSINE = 0.8

_IMAGE_TYPES = {
    "localiser": {"LOCALIZER"},
    "subtraction": {"SUB", "SUBTRACT", "SUBTRACTION", "SUBTRACTED"},
    "projection (MIP)": {"PROJECTION IMAGE", "MIP", "MNIP", "MINIP", "CSA MIP", "MAX_IP", "MIN_IP", "MAXIP"},
    "reformat (MPR)": {"MPR", "CSA MPR", "REFORMATTED", "CURVED MPR", "MPR THICK"},
    "map": {"ADC", "T1 MAP", "T2 MAP", "FAT_FRACTION", "WATER_FRACTION", "R2_STAR", "T2_STAR", "PERFUSION", "FF"},
    "phase image, not magnitude": {"P", "PHASE", "PHASE MAP", "VELOCITY MAP"},
    "screen capture or report": {"SCREEN SAVE", "SCREENSAVE", "SECONDARY CAPTURE", "REPORT"},
}
_OTHER_PARTS = frozenset((
    "BRAIN", "HEAD", "SKULL", "NECK", "SPINE", "CSPINE", "TSPINE", "LSPINE", "CTSPINE", "TLSPINE", "LSSPINE",
    "KNEE", "SHOULDER", "HIP", "PELVIS", "PROSTATE", "BREAST", "HEART", "CHEST", "THORAX", "FOOT", "HAND", "WRIST",
    "ELBOW", "ANKLE", "UTERUS", "RECTUM", "LEG", "ARM", "EXTREMITY", "EYE", "JAW",
))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Left:
    """A stack that was not taken.

    Args:
        stack: which.
        reason: in neutral words.
        broken: whether it would have been a candidate, were it whole.
    """

    stack: Stack
    reason: str
    broken: bool = False


def sort_out(facts: Sequence[Facts], *, keep: Sequence[Stack] = ()) -> tuple[list[Facts], list[Left]]:
    """Part the stacks of a study into those that may be a contrast phase and those that are not.

    What a single stack says of itself is judged first; then it is compared with the others, so that a property which
    all of them have (a derived image type after anonymisation, a wrong body part) leaves none out.

    Args:
        facts: of all stacks of one study.
        keep: stacks that a person named, whatever they are.

    Returns:
        Candidates in the given order, and the others with reasons.
    """
    reasons: dict[Stack, str] = {}
    candidates = list(facts)

    def leave(is_left: Callable[[Facts], str]) -> None:
        for fact in list(candidates):
            reason = "" if fact.stack in keep else is_left(fact)
            if reason:
                reasons[fact.stack] = reason
                candidates.remove(fact)

    leave(_own_reason)
    for is_worse, least in _WORSE:
        if sum(not is_worse(fact) for fact in candidates) >= least:
            leave(is_worse)
    leave(_other_plane(candidates))
    leave(_other_place(candidates))
    leave(_short(candidates))
    leave(_same_moment(candidates))
    broken = {fact.stack for fact in _broken([fact for fact in facts if fact.stack in reasons], candidates)}
    left = [Left(fact.stack, reasons[fact.stack], fact.stack in broken) for fact in facts if fact.stack in reasons]
    return candidates, left


def name_of(stack: Stack) -> str:
    """``series 7``, or ``series 7, part 2``; never its description."""
    series = "a series without number" if stack.series_number is None else f"series {stack.series_number}"
    return f"{series}, part {stack.part_index + 1}" if stack.part or stack.part_index else series


def _broken(left: Sequence[Facts], candidates: Sequence[Facts]) -> list[Facts]:
    """Those that show a moment of which no candidate is an image, and would be candidates if their files were whole.

    Without them the next phase in time would seem to be theirs.
    """
    short, elsewhere, plane = _short(candidates), _other_place(candidates), _other_plane(candidates)
    broken: list[Facts] = []
    for fact in left:
        if _kind_reason(fact) or len(fact.stack.frames) < LEAST_SLICES:
            continue
        if any(is_worse(fact) and not any(map(is_worse, candidates)) for is_worse, _ in _WORSE):
            continue
        lies = all(None not in (frame.position_mm, frame.orientation, frame.spacing_mm) for frame in fact.stack.frames)
        if lies and (plane(fact) or elsewhere(fact)):
            continue
        if not fact.stack.faults and not short(fact):
            continue
        if not any(_is_same_acquisition(fact, other) for other in (*candidates, *broken)):
            broken.append(fact)
    return broken


def _own_reason(fact: Facts) -> str:
    reason = _kind_reason(fact)
    if reason:
        return reason
    if fact.stack.faults:
        return f"unusable geometry: {'; '.join(fact.stack.faults)}"
    slices = len(fact.stack.frames)
    return f"too few slices: {slices}, at least {LEAST_SLICES} are needed" if slices < LEAST_SLICES else ""


def _kind_reason(fact: Facts) -> str:
    for kind, names in _IMAGE_TYPES.items():
        if names & set(fact.image_type):
            return kind
    if fact.words.kind:
        return f'{fact.words.kind} (the description has the term "{fact.words.kind_term}")'
    if fact.weighting:
        return fact.weighting
    return "fat image of a Dixon set" if fact.component == "fat" else ""


def _derived(fact: Facts) -> str:
    derived = "DERIVED" in fact.image_type[:1] or "SECONDARY" in fact.image_type[1:2]
    # Water images are computed from the echoes, and several vendors call them derived.
    return "derived image" if derived and not fact.component else ""


def _unlike_t1(fact: Facts) -> str:
    if fact.t1 or fact.contrast or fact.phase_word:
        return ""
    return "nothing says that it is a T1-weighted gradient echo of a contrast phase"


def _out_of_phase(fact: Facts) -> str:
    if fact.component in ("in_phase", "opposed_phase"):
        return f"{fact.component.replace('_', '-')} image; others are fat-suppressed or without phase preparation"
    return ""


def _other_part(fact: Facts) -> str:
    part = str(fact.stack.header.get("BodyPartExamined", "") or "").strip().upper().replace(" ", "")
    return f"other anatomy (BodyPartExamined {part})" if part in _OTHER_PARTS else ""


def _worded_anatomy(fact: Facts) -> str:
    if not fact.words.anatomy or fact.phase_word:
        return ""
    return f'other anatomy (the description has the term "{fact.words.anatomy}")'


_WORSE = ((_derived, 1), (_unlike_t1, 2), (_out_of_phase, 2), (_other_part, 2), (_worded_anatomy, 2))
"""Reasons that count only where at least so many stacks are without them."""


def _other_plane(candidates: Sequence[Facts]) -> Callable[[Facts], str]:
    axes = Counter(_axis(fact.stack) for fact in candidates)
    usual, count = axes.most_common(1)[0] if axes else (0, 0)
    names = ("sagittal", "coronal", "axial")

    def reason(fact: Facts) -> str:
        axis = _axis(fact.stack)
        if axis == usual or count <= len(candidates) / 2:
            return ""
        return f"{names[axis]}, while the other candidates are {names[usual]}"

    return reason


def _axis(stack: Stack) -> int:
    return int(np.argmax(np.abs(stack.normal)))


def _other_place(candidates: Sequence[Facts]) -> Callable[[Facts], str]:
    """No overlap with where most others lie."""
    boxes = [_box_mm(fact.stack) for fact in candidates]
    usual = np.median(boxes, axis=0) if boxes else None

    def reason(fact: Facts) -> str:
        if len(candidates) < 3:
            return ""
        low, high = _box_mm(fact.stack)
        shared_mm = np.clip(np.minimum(high, usual[1]) - np.maximum(low, usual[0]), 0.0, None)
        smaller_mm = np.minimum(high - low, usual[1] - usual[0])
        if float(np.prod(shared_mm / np.maximum(smaller_mm, 1e-6))) >= LEAST_OVERLAP:
            return ""
        return "other anatomy: lies elsewhere than the other candidates"

    return reason


def _box_mm(stack: Stack) -> np.ndarray:
    """``(2, 3)`` lowest and highest corner, RAS."""
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in stack.shape])).reshape(3, -1)
    corners_mm = stack.affine[:3, :3] @ corners + stack.affine[:3, 3:]
    return np.stack([corners_mm.min(axis=1), corners_mm.max(axis=1)])


def _short(candidates: Sequence[Facts]) -> Callable[[Facts], str]:
    extents_mm = [_extent_mm(fact.stack) for fact in candidates]
    usual_mm = float(np.median(extents_mm)) if extents_mm else 0.0

    def reason(fact: Facts) -> str:
        extent_mm = _extent_mm(fact.stack)
        if extent_mm >= LEAST_EXTENT * usual_mm:
            return ""
        return f"broken off or partial: {extent_mm:.0f} mm along the slices, the other candidates {usual_mm:.0f} mm"

    return reason


def _extent_mm(stack: Stack) -> float:
    return float(np.linalg.norm(stack.affine[:3, 2])) * len(stack.frames)


def _same_moment(candidates: Sequence[Facts]) -> Callable[[Facts], str]:
    """Copies, and other images of one acquisition: the best is kept, of equal ones the first."""
    ranked = sorted(candidates, key=lambda fact: (-fact.quality, fact.stack.series_number or 0, fact.stack.part_index))

    def reason(fact: Facts) -> str:
        better = ranked[: ranked.index(fact)]
        twin = next((b for b in better if _is_same_acquisition(fact, b) or _is_filed_again(fact, b, candidates)), None)
        if twin is None:
            return ""
        if twin.quality > fact.quality:
            return f"same acquisition as {name_of(twin.stack)}, which is fat-suppressed"
        return f"duplicate of {name_of(twin.stack)}"

    return reason


def _is_same_acquisition(first: Facts, second: Facts) -> bool:
    one_series = first.stack.series_uid == second.stack.series_uid
    if not one_series and _instances(first.stack) & _instances(second.stack):
        return True
    if first.clock_s is None or second.clock_s is None or abs(first.clock_s - second.clock_s) > SAME_TIME_S:
        return False
    if first.clock_shared or second.clock_shared:
        return not one_series and first.stack.part_index == second.stack.part_index and _alike(first, second)
    # Four phases that an archive filed as four series may share one AcquisitionTime: their descriptions differ.
    return _alike(first, second) and (not one_series or first.component != second.component)


def _is_filed_again(fact: Facts, first: Facts, candidates: Sequence[Facts]) -> bool:
    """Without clocks: the same name once more, after another phase has come; a repeat would follow at once."""
    if fact.clock_s is not None or first.clock_s is not None or not fact.phase_word:
        return False
    numbers = first.stack.series_number, fact.stack.series_number
    if None in numbers or fact.stack.description != first.stack.description:
        return False
    return any(
        other.phase_word not in ("", fact.phase_word) and numbers[0] < (other.stack.series_number or 0) < numbers[1]
        for other in candidates
    )


def _alike(first: Facts, second: Facts) -> bool:
    if first.component != second.component or first.fat_suppressed != second.fat_suppressed:
        return first.phase_word == second.phase_word
    shorter, longer = sorted((first.stack.description, second.stack.description), key=len)
    return longer.startswith(shorter)


def _instances(stack: Stack) -> set[tuple[str, int]]:
    uids = ((str(frame.header.get("SOPInstanceUID", "") or ""), frame.index) for frame in stack.frames)
    return {(uid, index) for uid, index in uids if uid}
