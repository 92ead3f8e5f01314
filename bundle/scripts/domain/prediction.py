"""What the network says about one study, handed from the engines to the results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Prediction:
    """The network's answer on the study's native reference grid.

    Args:
        tumour: ``(X, Y, Z)`` float32, probability of tumour; None where the network does not segment, and the lesion
            must be given.
        regression: ``(S, 4)`` float32, the head's normalised intensity per slice and phase, where
            ``S`` is the study's size along its ``slice_axis``; None where the network has no such head.
        classification: ``(S, 2)`` float32, class probabilities per slice in the order of ``CLASSES``;
            None where the network has no such head.
        seconds: time spent in the network.
        mask_given: whether ``tumour`` is the study's own label, for a network that does not segment.
    """

    tumour: np.ndarray | None
    regression: np.ndarray | None
    classification: np.ndarray | None
    seconds: float = 0.0
    mask_given: bool = False
