"""Studies as arrays: read once, the last few kept, since a reader asks many things about the same one."""

from __future__ import annotations

import threading
from collections import OrderedDict

from lib.studies.study import OpenStudy
from scripts.domain.errors import StudyError
from scripts.domain.study import Study
from scripts.studies.case import Case
from scripts.studies.reading import read_study


class Volumes:
    """Reads studies, one at a time, so that many requests at once do not fill the memory.

    Args:
        keep: studies that stay in memory; a study of 256 x 256 x 40 takes 42 MB.
    """

    def __init__(self, *, keep: int = 2) -> None:
        self.keep = keep
        self._lock = threading.Lock()
        self._read: OrderedDict[str, Study] = OrderedDict()

    def study(self, study: OpenStudy) -> Study:
        """The study in RAS+ and raw units. It is shared: never write into its arrays.

        Raises:
            StudyError: a file is unusable.
        """
        key = fingerprint(study.case)
        with self._lock:
            if key not in self._read:
                self._read[key] = read_study(study.case)
                while len(self._read) > self.keep:
                    self._read.popitem(last=False)
            self._read.move_to_end(key)
            return self._read[key]


def fingerprint(case: Case) -> str:
    """What tells a case from others, and from itself after one of its files was replaced.

    Raises:
        StudyError: one of its files is gone.
    """
    try:
        states = [(file, file.stat()) for file in case.files]
    except OSError as error:
        msg = "a file of the study is gone. Look whether somebody moved it"
        raise StudyError(msg) from error
    return "|".join((case.case, *(f"{file}:{state.st_size}:{state.st_mtime_ns}" for file, state in states)))
