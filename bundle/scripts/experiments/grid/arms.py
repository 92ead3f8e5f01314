"""The arms of the grid: one overlay each in ``configs/experiments``, and what its key ``arm`` says to the runner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...domain.errors import ConfigurationError
from ..overlay import about

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
EXPERIMENTS = CONFIGS / "experiments"

ALL = "all"


@dataclass(frozen=True)
class Arm:
    """One system of the grid.

    Args:
        key: the overlay's name, and that of its run folders.
        overlay: the file.
        train: the config behind which the overlay is laid for ``training``.
        evaluate: likewise for ``evaluating``.
        after: the arm whose weights of the same fold and seed this one starts from.
        dataset: name of the dataset that it needs; None for the liver studies.
        estimated: whether an epoch on a few subjects says for the dry run what it takes.
    """

    key: str
    overlay: Path
    train: Path = CONFIGS / "train.yaml"
    evaluate: Path = CONFIGS / "evaluate.yaml"
    after: str | None = None
    dataset: str | None = None
    estimated: bool = True


def choose_arms(names: str | Sequence[str], *, without: Sequence[str] = (), folder: Path = EXPERIMENTS) -> list[Arm]:
    """The arms of some names, those whose weights they start from before them.

    Args:
        names: of overlays, or ``all``.
        without: names left out of them.
        folder: of the overlays.

    Raises:
        ConfigurationError: an unknown name, nothing left, an arm that starts from one left out, or an overlay that
            cannot be used.
    """
    asked = [names] if isinstance(names, str) else list(names)
    require_known([name for name in asked if name != ALL], folder=folder)
    require_known(without, where="without", folder=folder)
    known = _known(folder)
    wanted = [name for name in (known if ALL in asked else dict.fromkeys(asked)) if name not in without]
    if not wanted:
        msg = "no arm is left to run. Give --arms at least one that --without does not take away"
        raise ConfigurationError(msg)
    chosen: dict[str, Arm] = {}
    for name in wanted:
        _add_after_those_it_needs(name, chosen, folder, ())
    for arm in chosen.values():
        if arm.after in without:
            msg = f"arm {arm.key} starts from the weights of {arm.after}, which --without leaves out: leave both out"
            raise ConfigurationError(msg)
    return list(chosen.values())


def require_known(names: Iterable[str], *, where: str = "", folder: Path = EXPERIMENTS) -> None:
    """Refuse names that no overlay has.

    Args:
        names: of arms.
        where: what names them, for the message; empty for the command line's ``--arms``.
        folder: of the overlays.

    Raises:
        ConfigurationError: naming them and those that there are.
    """
    known = _known(folder)
    if unknown := [name for name in names if name not in known]:
        also = f"Known are {', '.join(known)}" + ("" if where else f", and all of them as '{ALL}'")
        msg = f"{where and f'{where}: '}unknown arm {', '.join(map(repr, unknown))}. {also}"
        raise ConfigurationError(msg)


def _known(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_arm(overlay: Path) -> Arm:
    """What an overlay says to the runner.

    Raises:
        ConfigurationError: it is no YAML mapping, or its ``arm`` names what there is not.
    """
    said = about(overlay)
    bases = {name: CONFIGS / said[name] for name in ("train", "evaluate") if name in said}
    for name, path in bases.items():
        if not path.is_file():
            msg = f"{overlay}: broken overlay: arm.{name} is {said[name]!r}, and there is no such file in {CONFIGS}"
            raise ConfigurationError(msg)
    return Arm(
        overlay.stem,
        overlay,
        after=said.get("after"),
        dataset=said.get("dataset"),
        estimated=bool(said.get("estimated", True)),
        **bases,
    )


def _add_after_those_it_needs(name: str, chosen: dict[str, Arm], folder: Path, needed_by: tuple[str, ...]) -> None:
    if name in chosen:
        return
    if name in needed_by:
        msg = f"arm.after goes round in a circle: {' after '.join((*needed_by, name))}"
        raise ConfigurationError(msg)
    overlay = folder / f"{name}.yaml"
    if not overlay.is_file():
        msg = f"{folder / needed_by[-1]}.yaml: broken overlay: arm.after is {name!r}, and there is no such arm"
        raise ConfigurationError(msg)
    arm = read_arm(overlay)
    if arm.after is not None:
        _add_after_those_it_needs(arm.after, chosen, folder, (*needed_by, name))
    chosen[name] = arm
