"""Which studies to take, once their signals are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial.distance import cdist


def highest(scores: Mapping[str, float], count: int) -> list[str]:
    """The cases with the highest scores, highest first; ties by name, so that the answer is always the same."""
    return sorted(scores, key=lambda case: (-scores[case], case))[:count]


def farthest_first(
    candidates: Mapping[str, np.ndarray], known: Sequence[np.ndarray], count: int
) -> list[tuple[str, float]]:
    """Cover the feature space: again and again the case farthest from all that is labelled or taken already.

    The greedy k-centre choice of Sener and Savarese (2018), features standardised over all studies given.

    Args:
        candidates: by case, ``(K,)`` features.
        known: features of labelled studies; without any, the distance to the candidates' mean decides first.
        count: how many to take.

    Returns:
        The cases with their distance when they were taken.
    """
    names = sorted(candidates)
    if not names:
        return []
    everything = np.stack([*(candidates[name] for name in names), *known]).astype(np.float64)
    spread = everything.std(axis=0)
    standard = (everything - everything.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    free, labelled = standard[: len(names)], standard[len(names) :]
    centres = labelled if len(labelled) else free.mean(axis=0, keepdims=True)
    # Not all differences at once: of thousands of studies they fill gigabytes.
    distance = cdist(free, centres).min(axis=1)
    taken = []
    for _ in range(min(count, len(names))):
        index = int(distance.argmax())
        taken.append((names[index], float(distance[index])))
        distance = np.minimum(distance, np.linalg.norm(free - free[index], axis=1))
        distance[index] = -1.0
    return taken
