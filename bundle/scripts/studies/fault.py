"""One thing that is wrong with a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """What is wrong, where, and what to do.

    Args:
        case: the case's identifier; ``""`` where the fault is not one case's.
        file: the file or folder.
        problem: what is wrong with it.
        fix: what to do, as an imperative.
    """

    case: str
    file: Path
    problem: str
    fix: str

    def __str__(self) -> str:
        case = f"{self.case}: " if self.case else ""
        return f"{case}{self.file}: {self.problem}. {self.fix}."
