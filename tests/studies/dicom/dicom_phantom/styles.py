"""The phantom's study in the styles of vendors and archives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from .decoys import DECOYS, Scene, decoy
from .descriptions import describe
from .filing import write_study
from .plan import Filing, Part, Series, WrittenStudy
from .volumes import Subject

# Start of the acquisitions after the bolus, s.
TIMES_S = {"pre": -75.0, "arterial": 32.0, "portal_venous": 70.0, "delayed": 180.0}

SIEMENS_DESCRIPTIONS = {
    "pre": "t1_vibe_fs_tra_bh_pre",
    "arterial": "t1_vibe_fs_tra_bh_dyn",
    "portal_venous": "t1_vibe_fs_tra_bh_dyn",
    "delayed": "t1_vibe_fs_tra_bh_dyn",
}


def phase_parts(subject: Subject, **settings: float) -> dict[str, Part]:
    """Phase name to part; settings as of ``Part``."""
    return {name: Part(volume, TIMES_S[name], phase=name, **settings) for name, volume in subject.phases().items()}


def separate_series(
    folder: Path,
    *,
    subject: Subject | None = None,
    filing: Filing | None = None,
    descriptions: Mapping[str, str] = SIEMENS_DESCRIPTIONS,
    numbers: Mapping[str, int] | None = None,
    times: bool = True,
    bolus_time: bool = True,
    contrast: bool = True,
) -> WrittenStudy:
    """Style 1, Siemens-like: four series, each with its own AcquisitionTime, contrast attributes after the bolus.

    Args:
        folder: to write to.
        subject: in the scanner.
        filing: of the files.
        descriptions: by phase name.
        numbers: SeriesNumber by phase name.
        times: whether there are times of acquisition.
        bolus_time: whether there is a ContrastBolusStartTime.
        contrast: whether there are contrast attributes.
    """
    subject, filing = subject or Subject(), filing or Filing(key="separate series")
    numbers = numbers or {"pre": 7, "arterial": 10, "portal_venous": 11, "delayed": 12}
    series = [
        Series(
            number=numbers[name],
            role="dynamic",
            description=descriptions[name],
            parts=(part,),
            contrast=contrast and name != "pre",
            bolus_time=bolus_time,
            times=times,
        )
        for name, part in phase_parts(subject).items()
    ]
    return write_study(folder, series, subject, filing)


def temporal_positions(
    folder: Path,
    *,
    subject: Subject | None = None,
    filing: Filing | None = None,
    acquisition_times: bool = True,
    interleaved: bool = False,
) -> WrittenStudy:
    """Style 2, GE-like: one LAVA series with TemporalPositionIdentifier 1 to 4.

    The contrast attributes are those of the series, so they are on the pre-contrast phase too.

    Args:
        folder: to write to.
        subject: in the scanner.
        filing: of the files.
        acquisition_times: whether each phase has its own AcquisitionTime, or all the first one's.
        interleaved: whether instance numbers run through the phases of one slice before the next slice.
    """
    told_by = ("temporal_position", "acquisition_time") if acquisition_times else ("temporal_position",)
    return _one_series(folder, "Ax LAVA-Flex +C", told_by, subject, _vendor(filing, "ge", "temporal"), interleaved)


def trigger_times(
    folder: Path, *, subject: Subject | None = None, filing: Filing | None = None, interleaved: bool = False
) -> WrittenStudy:
    """Style 3: one series in which only TriggerTime tells the phases apart, in ms since the first phase's start."""
    return _one_series(
        folder, "Dyn 3D T1 FS", ("trigger_time",), subject, _vendor(filing, "ge", "trigger"), interleaved
    )


def acquisition_times(
    folder: Path, *, subject: Subject | None = None, filing: Filing | None = None, interleaved: bool = False
) -> WrittenStudy:
    """Between styles 3 and 4: one series in which only AcquisitionTime tells the phases apart."""
    filing = _vendor(filing, "siemens", "acquisition times")
    return _one_series(folder, "t1_twist_vibe_dyn", ("acquisition_time",), subject, filing, interleaved)


def untagged_repeats(
    folder: Path, *, subject: Subject | None = None, filing: Filing | None = None, interleaved: bool = False
) -> WrittenStudy:
    """Style 4, Philips-like: one series that repeats its slice positions and says nothing about time.

    One AcquisitionTime for all; the order of the instance numbers is all that is left. Rescale slope and Philips'
    private scale slope are set, and differ.
    """
    filing = _vendor(filing, "philips", "untagged")
    return _one_series(folder, "dyn eTHRIVE", (), subject, filing, interleaved, slope=1.7, scale_slope=0.93)


def philips_series(folder: Path, *, subject: Subject | None = None, filing: Filing | None = None) -> WrittenStudy:
    """Four eTHRIVE series, each with its own rescale slope and private scale slope."""
    subject, filing = subject or Subject(), _vendor(filing, "philips", "philips series")
    series = [
        Series(
            number=number,
            role="dynamic",
            description=f"eTHRIVE {name}",
            parts=(replace(part, slope=slope, scale_slope=scale_slope),),
            contrast=name != "pre",
        )
        for (name, part), number, slope, scale_slope in zip(
            phase_parts(subject).items(),
            (301, 401, 501, 601),
            (1.7, 2.3, 2.9, 2.6),
            (0.93, 0.71, 0.55, 0.62),
            strict=True,
        )
    ]
    return write_study(folder, series, subject, filing)


def enhanced_multi_frame(
    folder: Path,
    *,
    subject: Subject | None = None,
    filing: Filing | None = None,
    one_file: bool = True,
    told_by: tuple[str, ...] = ("temporal_position", "acquisition_time"),
    interleaved: bool = False,
    scale_slope: float | None = None,
) -> WrittenStudy:
    """Style 5: Enhanced MR with position, TemporalPositionIndex, FrameAcquisitionDateTime and rescale slope per frame.

    Args:
        folder: to write to.
        subject: in the scanner.
        filing: of the files.
        one_file: all phases in one file, or one file and series a phase.
        told_by: what tells the phases of one file apart, as of ``Series``; () leaves the order of the frames.
        interleaved: frames run through the phases of one slice before the next slice.
        scale_slope: Philips' private scale slope in each frame's group (2005,140F).
    """
    subject, filing = subject or Subject(), _vendor(filing, "philips", "enhanced")
    parts = [
        replace(part, slope=np.linspace(1.0, 1.5, part.volume.array.shape[2]) + 0.1 * index, scale_slope=scale_slope)
        for index, part in enumerate(phase_parts(subject).values())
    ]
    groups = [parts] if one_file else [[part] for part in parts]
    series = [
        Series(
            number=10 + 10 * index,
            role="dynamic",
            description="dyn mDIXON-W",
            parts=tuple(group),
            told_by=told_by,
            contrast=one_file or group[0].phase != "pre",
            interleaved=interleaved,
            enhanced=True,
        )
        for index, group in enumerate(groups)
    ]
    return write_study(folder, series, subject, filing)


def misspelt(
    folder: Path,
    *,
    subject: Subject | None = None,
    filing: Filing | None = None,
    language: str = "german",
    decoys: Iterable[str] = tuple(DECOYS),
    times: bool = True,
    bolus_time: bool = False,
    contrast: bool = True,
) -> WrittenStudy:
    """Style 6: the four phases among some twenty series, described in misspelt or local words.

    Args:
        folder: to write to.
        subject: in the scanner.
        filing: of the files.
        language: a key of ``descriptions.DESCRIPTIONS``.
        decoys: keys of ``decoys.DECOYS``.
        times: whether there are times of acquisition.
        bolus_time: whether there is a ContrastBolusStartTime.
        contrast: whether there are contrast attributes.
    """
    subject, filing = subject or Subject(), filing or Filing(key=f"misspelt {language}")
    parts = phase_parts(subject)
    scene = Scene(subject, parts, language)
    settings = {"times": times, "bolus_time": bolus_time}
    series = [
        Series(
            number=10 * number,
            role="dynamic",
            description=describe(name, language),
            parts=(part,),
            contrast=contrast and name != "pre",
            **settings,
        )
        for number, (name, part) in enumerate(parts.items(), start=1)
    ]
    series += [decoy(role, scene, contrast=contrast, **settings) for role in decoys]
    return write_study(folder, sorted(series, key=lambda plan: plan.number), subject, filing)


def ambiguous(
    folder: Path, *, subject: Subject | None = None, filing: Filing | None = None, candidates: int = 5
) -> WrittenStudy:
    """Style 7: series that nothing tells apart; an importer must refuse.

    All have the same words, no times, no contrast attributes, and the same signal but for noise: each is the mean of
    the phases after contrast. More of them than phases, so that not even their order settles it.

    Args:
        folder: to write to.
        subject: in the scanner.
        filing: of the files.
        candidates: number of series.
    """
    subject, filing = subject or Subject(), filing or Filing(key="ambiguous")
    after = [volume for name, volume in subject.phases().items() if name != "pre"]
    mean = np.mean([volume.array for volume in after], axis=0)
    noise = np.random.default_rng(0).normal(0.0, 4.0, (candidates, *mean.shape))
    series = [
        Series(
            number=5 + index,
            role="dynamic",
            description="AX T1 FS",
            parts=(Part(after[0].with_array((mean + noise[index]).clip(0)), 0.0),),
            times=False,
        )
        for index in range(candidates)
    ]
    return write_study(folder, series, subject, filing)


STYLES: dict[str, Callable[..., WrittenStudy]] = {
    "separate_series": separate_series,
    "temporal_positions": temporal_positions,
    "trigger_times": trigger_times,
    "acquisition_times": acquisition_times,
    "untagged_repeats": untagged_repeats,
    "philips_series": philips_series,
    "enhanced_multi_frame": enhanced_multi_frame,
    "misspelt": misspelt,
}
"""Styles in which all four phases are to be found; each takes a folder, ``subject`` and ``filing``."""


def _one_series(
    folder: Path,
    description: str,
    told_by: tuple[str, ...],
    subject: Subject | None,
    filing: Filing,
    interleaved: bool,
    **settings: float,
) -> WrittenStudy:
    subject = subject or Subject()
    series = Series(
        number=9,
        role="dynamic",
        description=description,
        parts=tuple(phase_parts(subject, **settings).values()),
        told_by=told_by,
        contrast=True,
        interleaved=interleaved,
    )
    return write_study(folder, [series], subject, filing)


def _vendor(filing: Filing | None, vendor: str, key: str) -> Filing:
    return Filing(key=key, vendor=vendor) if filing is None else replace(filing, vendor=vendor)
