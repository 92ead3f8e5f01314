"""What a run was made by: commit, packages, Python, hardware; light, so that a worker need not import PyTorch."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "torchvision",
    "monai",
    "pytorch-ignite",
    "numpy",
    "scipy",
    "scikit-learn",
    "nibabel",
    "timm",
    "segmentation-models-pytorch",
    "ray",
    "openvino",
)

_CODE = ("bundle/scripts", "bundle/configs")


def commit_of(root: Path) -> str | None:
    """The commit that a repository is at; None where there is no Git."""
    return _answer(*_git(root), "rev-parse", "HEAD") or None


def provenance(root: Path, commit: str | None) -> dict[str, Any]:
    """Commit, whether code or configs differ from it, package versions, Python and hardware.

    A grid takes days, and its processes hold modules that they imported at their start: a run is only then of the
    commit that the grid was started from if nothing has changed since, be it committed or not.

    Args:
        root: of the repository.
        commit: of ``commit_of`` when the grid was started.

    Returns:
        Plain values; ``commit`` and ``dirty`` are None where there is no Git.
    """
    return {
        "commit": commit,
        "dirty": _differs(root, commit),
        "packages": _packages(),
        "python": platform.python_version(),
        "hardware": hardware(),
    }


def hardware() -> dict[str, Any]:
    """The machine in words and numbers, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 2**30, 1),
        "gpus": _answer("nvidia-smi", "--query-gpu=name", "--format=csv,noheader", lines=True) or [],
        "system": platform.system(),
    }


def _differs(root: Path, commit: str | None) -> bool | None:
    if commit is None:
        return None
    changed = _answer(*_git(root), "diff", "--name-only", commit, "--", *_CODE)
    added = _answer(*_git(root), "ls-files", "--others", "--exclude-standard", "--", *_CODE)
    return None if changed is None or added is None else bool(changed or added)


def _git(root: Path) -> tuple[str, ...]:
    return "git", "-C", str(root)


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _answer(*command: str, lines: bool = False) -> Any:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    text = ended.stdout.strip()
    return text.splitlines() if lines else text
