"""Finds the MR images in a folder of anything: headers only, one ``Frame`` per image plane, a reason for the rest."""

from __future__ import annotations

import datetime
import math
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pydicom import config, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage, MRSpectroscopyStorage
from tqdm import tqdm

from ...domain.errors import DatasetError
from .attributes import KEPT, OTHER_MODALITIES
from .pixels import PHILIPS_SCALE_SLOPE, ends_early, frame_bytes, locate_pixel_data
from .signature import START_BYTES, looks_like_dicom
from .stack import SECONDS_A_DAY, Frame

# pydicom quotes a value that breaks its rules in a warning, and a value may be a name. Elements are converted when they
# are first asked for, anywhere, so that silencing the warnings of a block of code would not be enough.
config.settings.reading_validation_mode = config.IGNORE

READERS = 4
"""Files read at once: parsing holds Python's lock, but a file on a network share is mostly waited for."""

_PHILIPS_CREATOR = (0x2005, 0x0010)
_SHARED_GROUPS = Tag("SharedFunctionalGroupsSequence")
_FRAME_GROUPS = Tag("PerFrameFunctionalGroupsSequence")

_KEPT_TAGS = frozenset(Tag(tag_for_keyword(name)) for name in KEPT) | {Tag(PHILIPS_SCALE_SLOPE), Tag(_PHILIPS_CREATOR)}
_READ_TAGS = [*_KEPT_TAGS, _SHARED_GROUPS, _FRAME_GROUPS]
_SINGLE_FRAME_NAMES = {Tag("EffectiveEchoTime"): Tag("EchoTime"), Tag("FrameType"): Tag("ImageType")}

_HIGHEST_DEFLATION = 1032
"""Bytes that one byte of a deflated file can become."""

Element = DataElement | RawDataElement


@dataclass(frozen=True)
class Skipped:
    """A file that is no MR image of use.

    Args:
        file: where it is.
        reason: in words, without anything from its header that a person typed.
    """

    file: Path
    reason: str


@dataclass(frozen=True, eq=False)
class Scan:
    """What a folder holds.

    Args:
        frames: every MR image plane, in the order of the files' names.
        skipped: every other file.
    """

    frames: tuple[Frame, ...]
    skipped: tuple[Skipped, ...]


def scan(folder: str | Path, *, progress: bool = True) -> Scan:
    """Read the headers of all files below a folder.

    A file that ends inside its pixel data keeps its place, as a frame that says so: dropping it could shorten a
    volume unnoticed.

    Args:
        folder: holds the studies, at any depth.
        progress: show a bar.

    Returns:
        Frames and skipped files; the same image found twice is a frame once.

    Raises:
        DatasetError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        msg = f"{folder}: no such folder. Give the folder that holds the DICOM studies."
        raise DatasetError(msg)
    files, skipped = _files_below(folder)
    shared = _SharedElements()
    found: dict[tuple, list[Frame]] = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(READERS) as pool:
        warnings.simplefilter("ignore")  # pydicom's warnings about damaged files name them with their folders
        results = pool.map(lambda file: _read_file(file, shared), files)
        for result in tqdm(results, total=len(files), desc="Reading headers", unit="file", disable=not progress):
            if isinstance(result, Skipped):
                skipped.append(result)
                continue
            twin = found.setdefault(_identity(result[0]), result)
            if twin is not result:
                surplus = result if result[0].truncated or not twin[0].truncated else twin
                if surplus is twin:
                    found[_identity(result[0])] = result
                skipped.append(Skipped(surplus[0].file, "the same image as another file"))
    return Scan(tuple(frame for frames in found.values() for frame in frames), tuple(skipped))


def _files_below(folder: Path) -> tuple[list[Path], list[Skipped]]:
    """Every file, those behind links included, and the folders that cannot be looked into."""
    files: list[Path] = []
    skipped: list[Skipped] = []

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(Path(error.filename), "a folder that cannot be read: check the permissions"))

    visited = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        files += [Path(place) / name for name in names]
        # A link may lead up again, or to a folder that is read under its own name too.
        folders.sort(key=lambda name, place=place: (os.path.islink(os.path.join(place, name)), name))
        real = {name: os.path.realpath(os.path.join(place, name)) for name in folders}
        folders[:] = [name for name in folders if real[name] not in visited and not visited.add(real[name])]
    return sorted(files), skipped


class _SharedElements:
    """One copy of equal elements: the headers of a series differ in a handful of theirs."""

    def __init__(self) -> None:
        self._elements: dict[tuple, RawDataElement] = {}
        self._lock = threading.Lock()

    def shared(self, element: Element) -> Element:
        if not isinstance(element, RawDataElement):
            return element
        key = (element.tag, element.VR, element.value, element.is_implicit_VR, element.is_little_endian)
        with self._lock:
            return self._elements.setdefault(key, element)


def _read_file(file: Path, shared: _SharedElements) -> list[Frame] | Skipped:
    try:
        with file.open("rb") as opened:
            if not looks_like_dicom(opened.read(START_BYTES)):
                return Skipped(file, "not DICOM")
            opened.seek(0)
            read = dcmread(opened, force=True, stop_before_pixels=True, specific_tags=_READ_TAGS)
            reason = _unusable(read)
            if reason:
                return Skipped(file, reason)
            truncated = False
            size = os.fstat(opened.fileno()).st_size
            if read.file_meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
                pixels = locate_pixel_data(opened, read)
                if pixels is None and opened.tell() < size:
                    return Skipped(file, "no image in it")
                truncated = pixels is None or ends_early(opened, pixels, read)
            elif _frame_count(read) * frame_bytes(read) > size * _HIGHEST_DEFLATION:
                truncated = True
            return _frames(file, read, shared, truncated=truncated)
    except OSError:
        return Skipped(file, "cannot be read: check the disk and the permissions")
    except Exception:  # pydicom raises many kinds for one thing: a header that makes no sense
        return Skipped(file, "damaged header")


def _unusable(header: Dataset) -> str:
    """Why a file is no MR image; empty where it is one."""
    if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return "a DICOMDIR: the images it lists are read by themselves"
    modality = str(header.get("Modality", "") or "").strip()
    if not modality:
        return "no Modality: truncated, or no image"
    if modality != "MR":
        return f"{modality}, not MR" if modality in OTHER_MODALITIES else "not MR"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not header.get(keyword):
            return f"no {keyword}"
    if header.get("SOPClassUID") == MRSpectroscopyStorage:
        return "spectroscopy, no image"
    if not _whole(header, "Rows") or not _whole(header, "Columns"):
        return "no image in it, or truncated before it"
    return ""


def _frames(file: Path, read: Dataset, shared: _SharedElements, *, truncated: bool) -> list[Frame]:
    top = {tag: shared.shared(read.get_item(tag)) for tag in read.keys() if tag in _KEPT_TAGS}  # noqa: SIM118
    per_frame = read.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        # With fewer pixels than NumberOfFrames says, the number itself may be what is damaged.
        count = 1 if truncated else _frame_count(read)
        return [_frame(file, index, _header(top, read), truncated) for index in range(count)]
    for item in read.get("SharedFunctionalGroupsSequence") or ():
        top |= _lifted(item, shared)
    return [
        _frame(file, index, _header(top | _lifted(item, shared), read), truncated)
        for index, item in enumerate(per_frame[: _frame_count(read)])
    ]


def _lifted(groups: Dataset, shared: _SharedElements) -> dict[BaseTag, Element]:
    """The kept elements of an item of functional groups, without the groups around them."""
    lifted: dict[BaseTag, Element] = {}
    # Iterating over a dataset itself would convert every element of it; its keys do not.
    for sequence in list(groups.keys()):
        # Philips' frame sequence is (2005,140F), but a system that passed it on may have moved its block.
        private = sequence.group == 0x2005 and sequence.element & 0xFF == 0x0F
        if (sequence.is_private and not private) or groups[sequence].VR != "SQ" or not groups[sequence].value:
            continue
        group = groups[sequence].value[0]
        for tag in [tag for tag in group.keys() if (tag == PHILIPS_SCALE_SLOPE if private else tag in _KEPT_TAGS)]:  # noqa: SIM118
            single_frame_tag = _SINGLE_FRAME_NAMES.get(tag, tag)
            if single_frame_tag == tag:
                lifted[tag] = shared.shared(group.get_item(tag))
            else:
                lifted[single_frame_tag] = DataElement(single_frame_tag, group[tag].VR, group[tag].value)
    return lifted


def _header(elements: dict[BaseTag, Element], read: Dataset) -> Dataset:
    header = Dataset(elements)
    header.is_little_endian, header.is_implicit_VR = read.is_little_endian, read.is_implicit_VR
    header.set_original_encoding(read.is_implicit_VR, read.is_little_endian, read.read_encoding)
    return header


def _frame(file: Path, index: int, header: Dataset, truncated: bool) -> Frame:
    return Frame(
        file=file,
        index=index,
        header=header,
        position_mm=_numbers(header, "ImagePositionPatient", 3),
        orientation=_numbers(header, "ImageOrientationPatient", 6),
        spacing_mm=_spacing_mm(header),
        shape=(_whole(header, "Rows"), _whole(header, "Columns")),
        temporal_position=_whole(header, "TemporalPositionIndex") or _whole(header, "TemporalPositionIdentifier"),
        trigger_time_ms=_first_number(header, "TriggerTime", "NominalCardiacTriggerDelayTime"),
        acquisition_time_s=_acquisition_time_s(header),
        truncated=truncated,
    )


def _identity(frame: Frame) -> tuple:
    """What tells two images apart; broken anonymisers give all images of a series one SOPInstanceUID."""
    header = frame.header
    return (
        str(header.SOPInstanceUID),
        str(header.SeriesInstanceUID),
        str(header.get("PatientID", "")),
        _whole(header, "InstanceNumber"),
        frame.position_mm,
        frame.orientation,
        frame.temporal_position,
        frame.trigger_time_ms,
        frame.acquisition_time_s,
    )


def _frame_count(header: Dataset) -> int:
    return max(1, _whole(header, "NumberOfFrames") or 1)


def _spacing_mm(header: Dataset) -> tuple[float, float] | None:
    spacing_mm = _numbers(header, "PixelSpacing", 2)
    return spacing_mm if spacing_mm is not None and min(spacing_mm) > 0 else None


def _acquisition_time_s(header: Dataset) -> float | None:
    """Seconds after midnight of the study's day.

    The time of an image itself goes before AcquisitionDateTime, which may be that of the whole series' start.
    """
    moments = [_text(header, keyword) for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime")]
    moments.append(_text(header, "AcquisitionDate").ljust(8)[:8] + _text(header, "AcquisitionTime"))
    moments.append(_text(header, "AcquisitionDateTime"))
    for moment in moments:
        time_s = _seconds(moment[8:])
        if time_s is not None:
            return time_s + _days_after_study(header, moment[:8]) * SECONDS_A_DAY
    return None


def _seconds(text: str) -> float | None:
    """``HHMMSS.FFFFFF`` or a beginning of it, without a zone; None where it is no time."""
    digits = text.split("+")[0].split("-")[0].replace(":", "").strip()
    whole, _, fraction = digits.partition(".")
    if len(whole) not in (2, 4, 6) or not (whole + fraction).isdigit():
        return None
    hours, minutes, seconds = (int(whole[start : start + 2] or 0) for start in (0, 2, 4))
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{fraction or 0}")


def _days_after_study(header: Dataset, date: str) -> int:
    """1 where midnight passed during the study; 0 otherwise, and where the dates contradict each other."""
    try:
        days = (datetime.date.fromisoformat(date) - datetime.date.fromisoformat(_text(header, "StudyDate"))).days
    except ValueError:
        return 0
    return 1 if days == 1 else 0


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword) or "").strip()
    except Exception:  # a value that pydicom cannot convert is as good as none
        return ""


def _numbers(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """All finite, or None."""
    try:
        values = tuple(float(value) for value in header.get(keyword) or ())
    except Exception:  # as in _text
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def _first_number(header: Dataset, *keywords: str) -> float | None:
    for keyword in keywords:
        try:
            value = float(header.get(keyword))
        except Exception:  # as in _text
            continue
        if math.isfinite(value):
            return value
    return None


def _whole(header: Dataset, keyword: str) -> int | None:
    value = _first_number(header, keyword)
    return None if value is None else int(value)
