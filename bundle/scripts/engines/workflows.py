"""What the run ids of the configs call: train, evaluate, analyse; and the registered training workflow."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow

from ..domain.entry import entry_point
from ..domain.errors import CheckpointError, ConfigurationError, DatasetError, StudyError
from ..domain.switches import is_on
from ..studies import opening
from ..studies.layout import read_dataset, select, training_part, validation_part
from ..studies.opening import OpenedStudies
from ..studies.sources import find_cases
from .checkpoints import CheckpointHandler, refuse_earlier_run
from .study_evaluator import StudyEvaluator
from .trainer import AdversarialMultiTaskTrainer
from .weights import load_network, model_identity

logger = logging.getLogger(__name__)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


class TrainingWorkflow(ConfigWorkflow):
    """``train.yaml`` as a registered workflow.

    ``python -m monai.bundle run_workflow --workflow_name scripts.engines.workflows.TrainingWorkflow
    --dataset_dir DIR`` does what ``python -m monai.bundle run training`` does.

    Args:
        config_file: config or list of configs, by default ``train.yaml``.
        kwargs: as for ``ConfigWorkflow``; further keys override the config.
    """

    def __init__(self, config_file: str | list[str] | None = None, **kwargs: Any) -> None:
        config_file = str(CONFIGS / "train.yaml") if config_file is None else config_file
        super().__init__(config_file=config_file, workflow_type="train", run_id=kwargs.pop("run_id", "run"), **kwargs)


@entry_point
def train(
    trainer: AdversarialMultiTaskTrainer,
    checkpoint: CheckpointHandler,
    *,
    mean_curve: torch.Tensor,
    image_size: int,
    resume: bool | str,
    init_ckpt: str | None = None,
) -> None:
    """Train, go on training, or fine-tune.

    Args:
        trainer: the trainer of the config.
        checkpoint: its checkpoint handler.
        mean_curve: ``(4,)`` the training split's mean curve, stored with the weights as the
            reference of ``mae_ratio``.
        image_size: pixels of the network grid, stored likewise.
        resume: go on from the newest readable checkpoint.
        init_ckpt: weights to start from; None starts from random ones.

    Raises:
        SystemExit: checkpoints of an earlier run cannot be read or do not belong to this one, or ``init_ckpt`` holds no
            weights of this network at this ``image_size``.
    """
    bare = getattr(trainer.network, "module", trainer.network)
    if init_ckpt is not None:
        load_network(bare, init_ckpt)
        require_image_size(bare, image_size, init_ckpt)
    bare.mean_curve.copy_(mean_curve)
    bare.image_size.fill_(image_size)
    if is_on(resume):
        epoch = checkpoint.resume(trainer)
        logger.info("resuming after epoch %d of %d", epoch, trainer.state.max_epochs)
        if epoch >= trainer.state.max_epochs:
            logger.info("nothing left to do; give a higher --max_epochs to train longer")
            return
    trainer.run()


@entry_point
def require_training(dataset_dir: str, ckpt_dir: str, *, fold: int | None, resume: bool | str) -> None:
    """Stop with one line, before anything is built or written, where training cannot start.

    Raises:
        SystemExit: nothing to train on or to validate on, or checkpoints of an earlier run without ``resume``.
    """
    cases = read_dataset(dataset_dir)
    training_part(cases, fold)
    validation_part(cases, fold)
    refuse_earlier_run(ckpt_dir, resume=resume)


@entry_point
def require_labelled(dataset_dir: str, split: str | None, fold: int | None = None) -> None:
    """Stop with one line, before anything is built, where there is nothing to score."""
    cases = select(read_dataset(dataset_dir), split=split, folds=None if fold is None else [fold])
    if not any(case.label_file for case in cases):
        msg = f"{dataset_dir}: none of {len(cases)} cases has a label. Add labelsTr or labelsTs, or use inferring"
        raise DatasetError(msg)


@entry_point
def open_studies(path: str, output_dir: str, **options: Any) -> OpenedStudies:
    """The studies to analyse, DICOM imported first (``studies.opening``); one line where there is none."""
    return opening.open_studies(path, output_dir, **options)


@entry_point
def require_dicom(opened: OpenedStudies) -> None:
    """Stop where DICOM results are asked for and the studies did not come from DICOM."""
    if not opened.from_dicom:
        msg = "dicom_output needs studies that come from DICOM: give their folder as dataset_dir, or leave it out"
        raise ConfigurationError(msg)


@entry_point
def require_studies(path: str) -> None:
    """Stop with one line, before anything is built, where there is no study to analyse."""
    find_cases(path)


@entry_point
def analyse_studies(evaluator: StudyEvaluator, ckpt_path: str, version: str) -> None:
    """Analyse every study of the config's dataset: `evaluating` and `inferring`.

    Args:
        evaluator: with handlers that write, score and report.
        ckpt_path: plain state_dict for the evaluator's network.
        version: the bundle's version, for the results.

    Raises:
        SystemExit: the weights cannot be loaded or were trained at another ``image_size``, or some
            studies could not be read; the others are analysed first.
    """
    load_network(evaluator.network, ckpt_path)
    require_image_size(evaluator.network, evaluator.inferer.size, ckpt_path)
    evaluator.model = model_identity(version, ckpt_path)
    evaluator.run()
    if evaluator.failures:
        reasons = "\n".join(str(error) for error in evaluator.failures.values())
        msg = f"{len(evaluator.failures)} of {evaluator.state.epoch_length} studies have faults:\n{reasons}"
        raise StudyError(msg)


def require_image_size(network: torch.nn.Module, size: int, weights: str) -> None:
    """Refuse weights that were trained at another ``image_size``.

    Raises:
        CheckpointError: they were, or were not trained at all.
    """
    trained = int(network.image_size)
    if size and not trained:  # a reader without a grid has none either
        msg = f"{weights}: names no image_size, so no training of this bundle wrote it. Give the model.pt of one"
        raise CheckpointError(msg)
    if trained != size:
        msg = f"{weights}: was trained at image_size {trained}, this config says {size}. Give --image_size {trained}"
        raise CheckpointError(msg)
