"""The rounds of every strategy, one file each, so that a stopped simulation goes on where it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lib.activelearning.selection import farthest_first, highest
from lib.activelearning.simulation import learner
from lib.activelearning.simulation.sizes import Sizes
from scripts.domain.classes import CLASSES
from scripts.domain.errors import ConfigurationError
from scripts.domain.writing import replace_when_written
from scripts.engines.weights import load_network, save_atomically
from scripts.networks.mtinet import MTINet
from scripts.studies.case import Case
from scripts.studies.slice_cache import SubjectArrays, load_subjects

logger = logging.getLogger(__name__)

STRATEGIES = ("random", "uncertainty", "consistency", "diverse")
START = "start"
"""Stands for the strategy in round 0, which all share."""


@dataclass(frozen=True)
class Round:
    """What one training knew and was worth.

    Args:
        labelled: the cases it was trained on, in the order in which they were chosen.
        dice: by test subject with a tumour.
        correct: likewise, whether the class is right.
    """

    labelled: list[str]
    dice: dict[str, float] = field(default_factory=dict)
    correct: dict[str, bool] = field(default_factory=dict)


class Arms:
    """Plays every strategy against the others on the same studies, starts and test subjects.

    Args:
        cases: labelled; splits train and val are the pool, test subjects come from test.
        folder: of the rounds' files and weights.
        sizes: of everything.

    Raises:
        ConfigurationError: the folder holds a simulation of other sizes, or there are too few studies.
    """

    def __init__(self, cases: Sequence[Case], folder: Path, sizes: Sizes) -> None:
        self.pool = {case.case: case for case in cases if case.split != "test"}
        test = [case for case in cases if case.split == "test"][: sizes.test_subjects]
        needed = sizes.start + sizes.rounds * sizes.added
        if len(self.pool) < needed or not test:
            msg = (
                f"a simulation of {sizes.rounds} rounds needs {needed} studies in train and val and some in test; "
                f"got {len(self.pool)} and {len(test)}. Make a larger cohort"
            )
            raise ConfigurationError(msg)
        self.folder = folder
        self.sizes = sizes
        self._require_same_sizes()
        self.cache_dir = folder / "cache"
        self.subjects = {s.case.case: s for s in load_subjects([*self.pool.values()], sizes.image_size, self.cache_dir)}
        self.test = load_subjects(test, sizes.image_size, self.cache_dir)

    def play(self) -> None:
        """Every round that has no file yet, strategies side by side, one seed after the other."""
        for seed in range(self.sizes.seeds):
            self._start(seed)
            for number in range(1, self.sizes.rounds + 1):
                for strategy in STRATEGIES:
                    self._round(seed, strategy, number)

    def finished(self, seed: int, strategy: str, number: int) -> Round | None:
        """A round that was played; None otherwise."""
        file = self._file(seed, strategy, number, "json")
        return Round(**json.loads(file.read_text())) if file.is_file() else None

    def _start(self, seed: int) -> None:
        if self.finished(seed, START, 0) is not None:
            return
        network = learner.make_network(self.sizes, seed)
        labelled = self._first(seed)
        self._learn(network, labelled, steps=self.sizes.start_steps, seed=seed * 100)
        self._keep(network, labelled, seed, START, 0)

    def _round(self, seed: int, strategy: str, number: int) -> None:
        if self.finished(seed, strategy, number) is not None:
            return
        before = (START, 0) if number == 1 else (strategy, number - 1)
        labelled = self.finished(seed, *before).labelled
        network = load_network(learner.make_network(self.sizes, seed), self._file(seed, *before, "pt")).eval()
        labelled = [*labelled, *self._choose(network, strategy, labelled, seed, number)]
        # The same stream of random numbers for every strategy: they differ in the studies alone.
        self._learn(network, labelled, steps=self.sizes.round_steps, seed=seed * 100 + number)
        self._keep(network, labelled, seed, strategy, number)

    def _first(self, seed: int) -> list[str]:
        """Studies at random, drawn again until both classes are among them, or the heads could learn nothing."""
        rng = np.random.default_rng([seed, 0])
        while True:
            drawn = [str(name) for name in rng.choice(sorted(self.pool), self.sizes.start, replace=False)]
            if {self.pool[name].tumour_class for name in drawn} >= set(CLASSES):
                return drawn

    def _choose(self, network: MTINet, strategy: str, labelled: list[str], seed: int, number: int) -> list[str]:
        rng = np.random.default_rng([seed, number])
        unlabelled = sorted(self.pool.keys() - set(labelled))
        count = min(self.sizes.candidates, len(unlabelled))
        candidates = [str(name) for name in rng.choice(unlabelled, count, replace=False)]
        if strategy == "random":
            return candidates[: self.sizes.added]
        measured = {name: learner.signals(network, self.subjects[name], self.sizes) for name in candidates}
        if strategy == "diverse":
            known = [learner.signals(network, self.subjects[name], self.sizes).features for name in labelled]
            features = {name: each.features for name, each in measured.items()}
            return [name for name, _ in farthest_first(features, known, self.sizes.added)]
        return highest({name: getattr(each, strategy) for name, each in measured.items()}, self.sizes.added)

    def _learn(self, network: MTINet, labelled: list[str], *, steps: int, seed: int) -> None:
        cases = [self.pool[name] for name in labelled]
        learner.train(network, cases, self.sizes, steps=steps, seed=seed, cache_dir=self.cache_dir)

    def _keep(self, network: MTINet, labelled: list[str], seed: int, strategy: str, number: int) -> None:
        scores = {subject.case.case: self._score(network, subject) for subject in self.test}
        tumours = {name: each for name, each in scores.items() if each is not None}
        outcome = Round(
            labelled=labelled,
            dice={name: each.dice for name, each in tumours.items()},
            correct={name: each.correct for name, each in tumours.items()},
        )
        save_atomically(network.state_dict(), self._file(seed, strategy, number, "pt"))
        # The weights first: a round counts once its numbers are there.
        with replace_when_written(self._file(seed, strategy, number, "json")) as aside:
            aside.write_text(json.dumps(asdict(outcome), indent=1) + "\n")
        logger.info(
            "seed %d, %s, round %d: %d labelled, Dice %.3f, accuracy %.3f",
            seed,
            strategy,
            number,
            len(labelled),
            np.mean(list(outcome.dice.values())),
            np.mean(list(outcome.correct.values())),
        )

    def _score(self, network: MTINet, subject: SubjectArrays) -> learner.Score | None:
        return learner.score(network, subject, self.sizes)

    def _file(self, seed: int, strategy: str, number: int, ending: str) -> Path:
        return self.folder / "rounds" / f"{seed}-{number}-{strategy}.{ending}"

    def _require_same_sizes(self) -> None:
        file = self.folder / "sizes.json"
        mine = json.loads(json.dumps(asdict(self.sizes)))
        if not file.is_file():
            with replace_when_written(file) as aside:
                aside.write_text(json.dumps(mine, indent=1) + "\n")
        elif json.loads(file.read_text()) != mine:
            msg = "the folder holds a simulation of other sizes. Give another --output_dir, or the sizes of that one"
            raise ConfigurationError(msg)
