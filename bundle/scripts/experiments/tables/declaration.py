"""What stands in which table: a new table is an entry of ``TABLES``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ...domain.phases import PHASES
from .convergence import SCORE

Row = Mapping[str, str]
"""A row of ``per_subject.csv`` or ``training_log.csv``, as text; what is unknown is empty."""

AMOUNT, SHARE = "amount", "share"
"""How a column is tested: Wilcoxon on amounts, an exact paired test on right answers."""

REFERENCE = "mti_net"

LIVER = "liver"
"""The dataset of the four-phase studies."""


@dataclass(frozen=True)
class Column:
    """One metric of a table.

    Give either ``value``, for a metric that each subject has, or ``metric``, for one that only a run has.

    Args:
        key: as in an arm's ``reported``.
        heading: with its unit.
        higher_is_better: the direction.
        value: a row's contribution; None where the system has no such answer.
        metric: a key of ``metrics.json``.
        scale: from the file's unit to the table's.
        digits: after the decimal point.
        test: ``AMOUNT``, ``SHARE``, or None for no test.
        validation: column of ``training_log.csv`` that tells whether this metric has levelled off.
    """

    key: str
    heading: str
    higher_is_better: bool
    value: Callable[[Row], float | None] | None = None
    metric: str | None = None
    scale: float = 1.0
    digits: int = 2
    test: str | None = None
    validation: str = SCORE


@dataclass(frozen=True)
class Table:
    """One table of the paper, or of ours.

    Args:
        key: names its files; as in an arm's ``tables`` unless ``entry`` says another word.
        title: heading.
        arms: rows in the paper's order; other arms that name the table stand after these.
        columns: its metrics.
        reference: the arm that the others are compared with, always the last row; None compares none.
        further: what its paper compares beside that: an arm, and the one it is compared with.
        dataset: tables of one dataset are checked to hold runs of the same studies.
        confusion: whether confusion matrices belong to it.
        note: for readers.
        entry: the word in an arm's ``tables``, where several tables share one.
        prefix: of the keys of the arms that may stand here, likewise.
    """

    key: str
    title: str
    arms: tuple[str, ...]
    columns: tuple[Column, ...]
    reference: str | None = REFERENCE
    further: tuple[tuple[str, str], ...] = ()
    dataset: str = LIVER
    confusion: bool = False
    note: str = ""
    entry: str = ""
    prefix: str = ""

    @property
    def word(self) -> str:
        """The word in an arm's ``tables``."""
        return self.entry or self.key

    def pairs_of(self, rows: Collection[str]) -> list[tuple[str, str]]:
        """What is compared among the arms of some rows: an arm, and the one it is compared with."""
        with_reference = [(arm, self.reference) for arm in rows if self.reference not in (None, arm)]
        return with_reference + [pair for pair in self.further if set(pair) <= set(rows)]


def column_of(name: str) -> Callable[[Row], float | None]:
    """The number, or yes and no as 1 and 0, in a column of ``per_subject.csv``; None where it is empty or absent."""

    def value(row: Row) -> float | None:
        text = row.get(name, "")
        return {"": None, "True": 1.0, "False": 0.0}[text] if text in ("", "True", "False") else float(text)

    return value


def curve_error(row: Row, *, raw: bool = True) -> float | None:
    """Mean absolute error over the phases of the regression head on the slices of the true lesion.

    Args:
        row: of ``per_subject.csv``.
        raw: in raw scanner units, else in normalised intensity.
    """
    pairs = [(row.get(f"true_slices_{phase}", ""), row.get(f"true_{phase}", "")) for phase in PHASES]
    known = [(float(said), float(true)) for said, true in pairs if said and true]
    if not known:
        return None
    said, true = np.array(known).T
    return float(np.abs(said - true).mean()) * (float(row["scale"]) if raw else 1.0)


_DICE, _MAE_RATIO = "val_dice", "val_mae_ratio"

DSC = Column("dsc", "DSC, %", True, column_of("dice"), scale=100.0, test=AMOUNT, validation=_DICE)
IOU = Column("iou", "IoU, %", True, column_of("iou"), scale=100.0, validation=_DICE)
MAE = Column("mae", "MAE, raw units", False, curve_error, test=AMOUNT, validation=_MAE_RATIO)
MAE_RATIO = Column(
    "mae_ratio",
    "MAE over that of the training mean",
    False,
    metric="mae_ratio_true_slices",
    digits=3,
    validation=_MAE_RATIO,
)
ACCURACY = Column(
    "accuracy",
    "Accuracy, %",
    True,
    column_of("correct_on_true_slices"),
    scale=100.0,
    digits=1,
    test=SHARE,
    validation="val_accuracy",
)

_FAMILY_OF_IMAGE_NETWORKS = ("vgg16", "resnet50", "densenet121", "googlenet")
_ON_TRUE_SLICES = (
    "The heads of all systems answer for the slices of the true lesion, where systems without a mask of their own can "
    "be asked too."
)

TABLES = (
    Table(
        "segmentation",
        "Table 1. Segmentation",
        ("unet", "resunetpp", "transunet", "ei_ddpm", "md_ff"),
        (DSC, IOU),
        note="IoU is a function of Dice in each subject, so it is not tested again.",
    ),
    Table(
        "regression",
        "Table 2. Dynamic enhancement regression",
        tuple(f"{name}_regression" for name in _FAMILY_OF_IMAGE_NETWORKS),
        (MAE, MAE_RATIO),
        note=f"{_ON_TRUE_SLICES} Raw units are the scanner's; the second column can be compared between datasets.",
    ),
    Table(
        "classification",
        "Fig. 4. Classification into hemangioma and HCC",
        tuple(f"{name}_classification" for name in _FAMILY_OF_IMAGE_NETWORKS),
        (ACCURACY,),
        confusion=True,
        note=_ON_TRUE_SLICES,
    ),
    Table(
        "ablation",
        "Table 3. Ablations of MTI-Net",
        ("no_mdief", "no_spe", "no_spa", "no_tim", "no_tdd"),
        (DSC, IOU, MAE),
        note=_ON_TRUE_SLICES,
    ),
    Table(
        "synergy",
        "Table 4. Synergy of the tasks",
        ("seg_only", "seg_reg", "seg_cls"),
        (DSC, MAE, ACCURACY),
        note=_ON_TRUE_SLICES,
    ),
    Table(
        "extra",
        "Beyond the paper",
        ("swin_unetr", "mednext", "nnunet"),
        (DSC, IOU, MAE, ACCURACY),
        note=_ON_TRUE_SLICES,
    ),
    Table(
        "cmu_net",
        "CMU-Net: segmentation with organ classification",
        ("cmu_unet", "cmu_punet"),
        (
            Column("dsc", "DSC by slice, %", True, column_of("slice_dice"), scale=100.0, test=AMOUNT),
            Column("hausdorff", "Hausdorff distance by slice, mm", False, column_of("slice_hausdorff_mm"), test=AMOUNT),
            Column("volume_dsc", "DSC of the volume, %", True, column_of("dice"), scale=100.0),
        ),
        reference="cmu_net",
        further=(("cmu_punet", "cmu_unet"),),
        dataset="cmu_net",
        note="By slice, over the slices with the organ: its paper tests on slices, but says neither what its means are "
        "over nor the unit of its distance.",
    ),
    *(
        Table(
            f"chest_{encoder}",
            f"The chest-CT network with a {name} encoder: which tasks help one another",
            tuple(f"chest_{encoder}_{regime}" for regime in ("cr", "sr", "dr", "sr_from_c")),
            (
                Column("dice", "Dice", True, column_of("dice"), digits=4, test=AMOUNT, validation=_DICE),
                Column(
                    "accuracy",
                    "Accuracy, %",
                    True,
                    column_of("correct"),
                    scale=100.0,
                    digits=1,
                    test=SHARE,
                    validation="val_balanced_accuracy",
                ),
                # An error has no scale on which .005 would mean anything, so the score of the other tasks judges it.
                Column("reconstruction", "Reconstruction error", False, column_of("reconstruction_error"), digits=4),
                Column("detection", "Detection AP", True, metric="detection_ap", digits=3, validation="val_ap50"),
            ),
            reference=f"chest_{encoder}_csrd",
            further=((f"chest_{encoder}_sr_from_c", f"chest_{encoder}_sr"),),
            dataset="chest",
            note="C classification, S segmentation, R reconstruction, D detection. A subject's class is asked of its "
            "slices with a true lesion, or of all where there is none.",
            entry="chest",
            prefix=f"chest_{encoder}_",
        )
        for encoder, name in (("vgg13", "VGG-13"), ("resnet50", "ResNet-50"))
    ),
)

TABLE_KEYS = tuple(dict.fromkeys(table.word for table in TABLES))
