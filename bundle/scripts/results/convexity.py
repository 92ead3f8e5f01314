"""A sanity check on any table of Dice and IoU: what two means over the same cases can be."""

from __future__ import annotations

from collections.abc import Mapping


def smallest_mean_iou(mean_dice: float) -> float:
    """The smallest mean IoU that a mean Dice allows over the same cases: ``D / (2 - D)``.

    In each case IoU = D / (2 - D), a convex function of D, so by Jensen's inequality the mean of the
    IoUs is never below the function of the mean.
    """
    return mean_dice / (2.0 - mean_dice)


def impossible_rows(table: Mapping[str, tuple[float, float]], *, tolerance: float = 1e-6) -> list[str]:
    """Check a table.

    Args:
        table: per row its mean Dice and mean IoU, as fractions.
        tolerance: how far an IoU may fall short, such as the rounding of a printed table.

    Returns:
        A sentence for each row that cannot come from one set of cases; empty when all can.
    """
    return [
        f"{name}: mean IoU {iou:.4f} is below {smallest_mean_iou(dice):.4f}, the least that mean Dice {dice:.4f} allows"
        for name, (dice, iou) in table.items()
        if iou < smallest_mean_iou(dice) - tolerance
    ]
