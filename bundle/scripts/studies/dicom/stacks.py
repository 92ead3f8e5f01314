"""Splits the frames of all series into stacks: one for each volume that could be a contrast phase.

A series may hold several volumes: other image types or echoes, and the phases of a dynamic series. The phases are told
apart by the first of TemporalPositionIdentifier (or -Index), TriggerTime, AcquisitionTime and AcquisitionNumber that
explains why slice positions repeat, and with none of these by the order of the instances, which runs volume by volume
or slice by slice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .geometry import faults_of, in_order, instance_order, position_numbers, same_plane
from .stack import Frame, Stack, past_midnight

ECHO_TOLERANCE_MS = 0.1
"""Echoes of a series are at least half a millisecond apart."""


@dataclass(frozen=True)
class _Volume:
    """Frames that belong together, their name within the series, and what is wrong with how they were split."""

    frames: list[Frame]
    name: str = ""
    faults: tuple[str, ...] = ()


def stacks_of(frames: Iterable[Frame]) -> list[Stack]:
    """Every volume that could be a phase, of every series of every study.

    Args:
        frames: as ``scan`` found them.

    Returns:
        Stacks, their frames ordered along the normal and their faults named, in the order of studies and series
        numbers; the parts of one series in the order of time.
    """
    series: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        series[str(frame.header.StudyInstanceUID), str(frame.header.SeriesInstanceUID)].append(frame)
    stacks = [stack for members in series.values() for stack in _stacks_of_series(members)]
    return sorted(stacks, key=_place_in_study)  # a stable sort: parts keep their order


def _place_in_study(stack: Stack) -> tuple[str, float, str]:
    number = stack.series_number
    return stack.study_uid, np.inf if number is None else number, stack.series_uid


def _stacks_of_series(frames: list[Frame]) -> list[Stack]:
    families: dict[_Family, list[Frame]] = defaultdict(list)
    echoes_ms = _echoes_ms(frames)
    for frame in frames:
        families[_Family.of(frame, echoes_ms)].append(frame)
    stacks: list[Stack] = []
    for family in sorted(families):
        planes = _planes(families[family])
        mixed = () if len(planes) == 1 else (_what_differs(planes),)
        for number, plane in enumerate(planes, start=1):
            plane_name = f"plane {number} of {len(planes)}" if mixed else ""
            for volume in _volumes(plane):
                ordered = in_order(volume.frames)
                stacks.append(
                    Stack(
                        frames=ordered,
                        part=", ".join(filter(None, (family.name_among(families), plane_name, volume.name))),
                        part_index=len(stacks),
                        faults=(*mixed, *volume.faults, *faults_of(ordered)),
                    )
                )
    return stacks


@dataclass(frozen=True, order=True)
class _Family:
    """What one series may hold several of without their being phases: in and opposed phase, echoes, b-values."""

    image_type: tuple[str, ...]
    echo_time_ms: float
    b_value: float

    @classmethod
    def of(cls, frame: Frame, echoes_ms: dict[float, float]) -> _Family:
        image_type = frame.header.get("ImageType") or ()
        words = (image_type,) if isinstance(image_type, str) else tuple(image_type)
        return cls(
            image_type=tuple(str(word).strip().upper() for word in words),
            echo_time_ms=echoes_ms[_echo_time_ms(frame)],
            b_value=_number(frame, "DiffusionBValue", default=0.0),
        )

    def name_among(self, families: Iterable[_Family]) -> str:
        """What sets it apart from the others of its series, e.g. ``image type OPP_PHASE, echo 1.23 ms``."""
        families = list(families)
        names = []
        common = set.intersection(*(set(family.image_type) for family in families))
        own = [word for word in self.image_type if word not in common]
        if own:
            names.append(f"image type {' '.join(own)}")
        if len({family.echo_time_ms for family in families}) > 1:
            names.append(f"echo {self.echo_time_ms:g} ms")
        if len({family.b_value for family in families}) > 1:
            names.append(f"b {self.b_value:g}")
        return ", ".join(names)


def _echoes_ms(frames: Iterable[Frame]) -> dict[float, float]:
    """Which echo of a series each EchoTime belongs to, as the shortest of that echo: one may vary in its last digit."""
    echoes_ms: dict[float, float] = {}
    last_ms = first_ms = -np.inf
    for time_ms in sorted({_echo_time_ms(frame) for frame in frames}):
        if time_ms - last_ms > ECHO_TOLERANCE_MS:
            first_ms = time_ms
        echoes_ms[time_ms], last_ms = round(first_ms, 2), time_ms
    return echoes_ms


def _echo_time_ms(frame: Frame) -> float:
    return _number(frame, "EchoTime", default=0.0)


def _planes(frames: list[Frame]) -> list[list[Frame]]:
    """Frames of one patient, frame of reference, orientation, spacing and matrix each; the largest group first."""
    planes: list[list[Frame]] = []
    for frame in frames:
        for plane in planes:
            if same_plane(plane[0], frame) and _whose_and_where(plane[0]) == _whose_and_where(frame):
                plane.append(frame)
                break
        else:
            planes.append([frame])
    return sorted(planes, key=len, reverse=True)


def _whose_and_where(frame: Frame) -> tuple[str, str]:
    return str(frame.header.get("PatientID") or ""), str(frame.header.get("FrameOfReferenceUID") or "")


def _what_differs(planes: list[list[Frame]]) -> str:
    patients, frames_of_reference = (
        set(names) for names in zip(*(_whose_and_where(p[0]) for p in planes), strict=True)
    )
    if len(patients) > 1:
        return "the series mixes patients"
    if len(frames_of_reference) > 1:
        return "the series mixes frames of reference"
    return "the series mixes orientations, pixel spacings or matrices"


_ORDERING: tuple[tuple[str, Callable[[Frame], float | None]], ...] = (
    ("temporal position", lambda frame: frame.temporal_position),
    ("trigger time", lambda frame: frame.trigger_time_ms),
    ("acquisition time", lambda frame: frame.acquisition_time_s),
    ("acquisition number", lambda frame: _number(frame, "AcquisitionNumber")),
)


def _volumes(frames: list[Frame]) -> list[_Volume]:
    """The volumes among frames of one plane, in the order of time."""
    if any(frame.position_mm is None or frame.orientation is None for frame in frames):
        return [_Volume(frames)]
    positions = position_numbers(frames)
    counts = np.bincount(positions)
    repeats = _typical(counts)
    if repeats == 1:
        return _split_that_cures(frames, counts) or [_Volume(frames)]
    for name, value_of in _ORDERING:
        values = [value_of(frame) for frame in frames]
        if None in values:
            continue
        if name == "acquisition time":
            values = past_midnight(values)
        parts = _by_value(frames, positions, values, repeats) or _by_rank(frames, positions, values, repeats)
        if parts:
            return _named(parts, name)
    return _by_instance(frames, positions, repeats)


def _typical(counts: np.ndarray) -> int:
    """How often a slice position usually comes; the higher number where two are as usual."""
    return max(Counter(counts.tolist()).items(), key=lambda item: (item[1], item[0]))[0]


def _by_value(
    frames: Sequence[Frame], positions: np.ndarray, values: Sequence[float], repeats: int
) -> list[list[Frame]]:
    """One part for each value, if that explains the repeats: as many values as repeats, no position twice in a part.

    Doubled slices stay doubled in their part, and a missing slice is missing in its own.
    """
    groups: dict[float, list[int]] = defaultdict(list)
    for number, value in enumerate(values):
        groups[value].append(number)
    surplus = int(np.maximum(np.bincount(positions) - repeats, 0).sum())
    doubled = sum(len(group) - len(np.unique(positions[group])) for group in groups.values())
    if len(groups) != repeats or doubled > surplus:
        return []
    return [[frames[number] for number in groups[value]] for value in sorted(groups)]


def _by_rank(
    frames: Sequence[Frame], positions: np.ndarray, values: Sequence[float], repeats: int
) -> list[list[Frame]]:
    """The k-th at each position makes the k-th part: for slices with a time each, as in 2D acquisitions."""
    parts: list[list[Frame]] = [[] for _ in range(repeats)]
    for position in range(positions.max() + 1):
        here = sorted(np.flatnonzero(positions == position), key=lambda number: values[number])
        if len(here) != repeats or len({values[number] for number in here}) != repeats:
            return []
        for part, number in zip(parts, here, strict=True):
            part.append(frames[number])
    return parts


def _by_instance(frames: list[Frame], positions: np.ndarray, repeats: int) -> list[_Volume]:
    """Volumes by the order of their instances, if slice positions follow each other in one of the two usual orders."""
    keys = [instance_order(frame) for frame in frames]
    order = sorted(range(len(frames)), key=keys.__getitem__)
    sequence = positions[order]
    slices = int(positions.max()) + 1
    if (
        len(sequence) == repeats * slices
        and len(set(keys)) == len(keys)
        and not any(unnumbered for unnumbered, *_ in keys)
    ):
        whole = np.sort(sequence.reshape(repeats, slices), axis=1)
        if (whole == np.arange(slices)).all():
            parts = np.reshape(order, (repeats, slices))
            return _named([[frames[n] for n in part] for part in parts], "repeat", " (instances run volume by volume)")
        constant = sequence.reshape(slices, repeats)
        if (constant == constant[:, :1]).all():
            parts = np.reshape(order, (slices, repeats)).T
            return _named([[frames[n] for n in part] for part in parts], "repeat", " (instances run slice by slice)")
    fault = f"slice positions repeat {repeats} times and no attribute tells the volumes apart"
    return [_Volume(frames, faults=(fault,))]


def _split_that_cures(frames: list[Frame], counts: np.ndarray) -> list[_Volume]:
    """Volumes whose slices lie elsewhere than each other's, so that few positions repeat; empty where there is one.

    Only a temporal position is trusted where no position repeats at all: the packages of one interleaved volume have
    times of their own too.
    """
    if not faults_of(in_order(frames)):
        return []
    for name, value_of in _ORDERING if counts.max() > 1 else _ORDERING[:1]:
        groups: dict[float | None, list[Frame]] = defaultdict(list)
        for frame in frames:
            groups[value_of(frame)].append(frame)
        if None in groups or len(groups) == 1:
            continue
        later = past_midnight(list(groups)) if name == "acquisition time" else list(groups)
        parts = [group for _, group in sorted(zip(later, groups.values(), strict=True), key=lambda pair: pair[0])]
        if not any(faults_of(in_order(part)) for part in parts):
            return _named(parts, name)
    return []


def _named(parts: list[list[Frame]], name: str, remark: str = "") -> list[_Volume]:
    return [_Volume(part, f"{name} {number} of {len(parts)}{remark}") for number, part in enumerate(parts, start=1)]


def _number(frame: Frame, keyword: str, *, default: float | None = None) -> float | None:
    try:
        value = float(frame.header.get(keyword))
    except (TypeError, ValueError):
        return default
    return value if np.isfinite(value) else default
