"""Keeps the patient out of what an import writes and prints: salted ids, a silent pydicom, and a last sweep."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from ...domain.errors import ConfigurationError

SALT_FILE = ".salt"
REMOVED = "[removed]"

_SALT_BYTES = 32
_SALT_PATTERN = re.compile(rf"[0-9a-f]{{{2 * _SALT_BYTES}}}")

_TALKATIVE_LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "rle", "jpeg_ls", "highdicom")

_IDENTIFYING = (
    "PatientID",
    "PatientBirthDate",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
)
"""Besides PatientName; whatever else names a person is not even read (``attributes.KEPT``). Descriptions are not among
them: theirs are the words in which phases are spoken of, and what chooses phases never quotes them."""

_SHORTEST_NAME = 3
_SHORTEST_VALUE = 4
"""Shorter values, such as a study's number 1, would take ordinary words and numbers with them."""


class Salt:
    """The secret of a project that makes its ids: without it nobody can test whether a patient is in the project.

    Args:
        secret: random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def new(cls) -> Salt:
        """A random one."""
        return cls(secrets.token_bytes(_SALT_BYTES))

    @classmethod
    def read(cls, file: Path) -> Salt:
        """The one that a file holds.

        Raises:
            ConfigurationError: the file cannot be read or is no salt.
        """
        try:
            text = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not _SALT_PATTERN.fullmatch(text):
            msg = (
                f"{file}: not a salt of this importer ({2 * _SALT_BYTES} hexadecimal digits). Give the file that an "
                "earlier import made, or one that does not exist yet."
            )
            raise ConfigurationError(msg)
        return cls(bytes.fromhex(text))

    def write(self, file: Path) -> None:
        """Write it for the owner's eyes only, whole; a file that is there already is never replaced.

        Raises:
            ConfigurationError: the file is there, or its folder cannot be written to.
        """
        aside = file.with_name(f".{os.getpid()}.{file.name}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
                opened.write(f"{self._secret.hex()}\n")
                opened.flush()
                os.fsync(opened.fileno())
            os.link(aside, file)
        except OSError as error:
            msg = f"{file}: the salt cannot be written ({error.strerror}). Give another --salt_file."
            raise ConfigurationError(msg) from error
        finally:
            aside.unlink(missing_ok=True)

    def digest(self, *words: str) -> str:
        """Hexadecimal HMAC-SHA-256 of some words, the same for the same salt."""
        return hmac.new(self._secret, "\0".join(words).encode(), hashlib.sha256).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Tells whether two imports used one salt, and nothing else."""
        return self.digest("fingerprint")[:12]


def case_id(salt: Salt, *, study_uid: str, patient_id: str, keep_identity: bool = False) -> str:
    """The name of a study: ``case-<10 digits of the patient>-<6 digits of the study>``.

    Args:
        salt: the project's.
        study_uid: StudyInstanceUID.
        patient_id: PatientID; empty makes the study a patient of its own.
        keep_identity: put the PatientID, as far as it can name a file, in the place of the patient's digits.
    """
    subject = salt.digest("patient", patient_id) if patient_id else salt.digest("study of nobody", study_uid)
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", patient_id).strip("-._") if keep_identity else ""
    return f"case-{readable or subject[:10]}-{salt.digest('study', study_uid)[:6]}"


def patient_id(headers: Iterable[Dataset]) -> str:
    """The first PatientID among the headers of one study; empty where none has one."""
    return next(filter(None, (_text(header, "PatientID") for header in headers)), "")


def same_patient(headers: Iterable[Dataset]) -> bool:
    """Whether all files may be one patient's: one PatientID, one birth date, and without an ID one name.

    Names are no criterion beside an ID, because devices spell them differently.
    """
    ids, births, names = set(), set(), set()
    for header in headers:
        ids.add(_text(header, "PatientID"))
        births.add(_text(header, "PatientBirthDate"))
        names.add(re.sub(r"[\W_]+", " ", _text(header, "PatientName")).strip().casefold())
    return all(len(values - {""}) <= 1 for values in (ids, births, set() if ids - {""} else names))


def identity(header: Dataset) -> dict[str, str]:
    """What ``--keep_identity`` keeps in ``import.json``."""
    return {
        "patient_id": _text(header, "PatientID"),
        "patient_name": _text(header, "PatientName"),
        "study_instance_uid": _text(header, "StudyInstanceUID"),
        "study_date": _text(header, "StudyDate"),
        "accession_number": _text(header, "AccessionNumber"),
    }


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence what the DICOM libraries say: their warnings quote the values of elements, names included."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE_LOGGERS]
    levels = [logger.level for logger in loggers]
    mode = config.settings.reading_validation_mode
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@dataclass(frozen=True)
class Sweep:
    """Takes one study's identifying values out of whatever is about to be printed or written.

    Every message should be neutral where it is made; this is the net under it.

    Args:
        pattern: finds the values; None finds nothing.
        spared: stay wherever they stand.
    """

    pattern: re.Pattern[str] | None = None
    spared: frozenset[str] = frozenset()

    @classmethod
    def of(cls, headers: Iterable[Dataset], files: Iterable[Path] = ()) -> Sweep:
        """For the values of some headers, and the paths of files and of their folders.

        Args:
            headers: distinct ones suffice.
            files: as they were opened, absolute.
        """
        values: set[str] = set()
        # Advice names series by number, and a study's number may be the same.
        numbers: set[str] = set()
        for header in headers:
            numbers |= {str(int(number)) for number in _texts(header, "SeriesNumber") if number.isdecimal()}
            for name in _texts(header, "PatientName"):
                values |= {name, *(word for word in re.split(r"[\W_]+", name) if len(word) >= _SHORTEST_NAME)}
            for keyword in _IDENTIFYING:
                values |= {value for value in _texts(header, keyword) if len(value) >= _SHORTEST_VALUE}
        for file in files:
            values |= {str(file), str(file.parent)}
        return cls(_pattern(sorted(values - {""}, key=len, reverse=True)), frozenset(numbers))

    def text(self, text: str) -> str:
        """A text without the values."""
        if self.pattern is None:
            return text
        return self.pattern.sub(lambda found: found[0] if found[0] in self.spared else REMOVED, text)

    def content(self, content: Any) -> Any:
        """What goes into JSON, every text in it swept; the keys are the importer's own."""
        if isinstance(content, str):
            return self.text(content)
        if isinstance(content, dict):
            return {key: self.content(value) for key, value in content.items()}
        if isinstance(content, list | tuple):
            return [self.content(value) for value in content]
        return content


def _pattern(values: Sequence[str]) -> re.Pattern[str] | None:
    # Whole words only, or a patient called Li would cost every "slice" its middle.
    bounded = [rf"(?<!\w){re.escape(value)}(?!\w)" for value in values]
    return re.compile("|".join(bounded), re.IGNORECASE) if bounded else None


def _texts(header: Dataset, keyword: str) -> list[str]:
    try:
        value = header.get(keyword)
    except Exception:  # a value that pydicom cannot convert is as good as none
        return []
    if value is None or value == "":
        return []
    values = value if isinstance(value, MultiValue) else [value]
    return [str(each).strip() for each in values]


def _text(header: Dataset, keyword: str) -> str:
    return "\\".join(_texts(header, keyword))
