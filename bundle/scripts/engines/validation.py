"""Validation while training: whole subjects on the network grid, a stack of slices at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.handlers import ValidationHandler
from monai.inferers import Inferer, SimpleInferer
from torch import nn

from ..domain.errors import DatasetError
from ..networks.readouts import tumour_class_probabilities
from .batches import prepare_batch


class SubjectEvaluator(Evaluator):
    """Run the network over all slices of one subject per iteration.

    ``state.output`` is the network's dict with ``probability`` ``(S, 1, H, W)`` for the
    segmentation logits, fp32; ``state.batch`` is the subject's batch.

    Args:
        device: where to evaluate.
        val_data_loader: yields one subject's slices as a batch.
        network: any ``SliceNetwork``, on ``device``.
        slices_per_pass: slices that go through the network together.
        inferer: how the network is called, by default directly.
        key_val_metric: as in ``monai.engines.Evaluator``.
        additional_metrics: likewise.
        val_handlers: objects with ``attach(engine)``.
        amp: autocast on the device's own type.
        amp_kwargs: arguments of ``torch.autocast``, by default bf16.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: Iterable,
        network: nn.Module,
        *,
        slices_per_pass: int = 16,
        inferer: Inferer | None = None,
        key_val_metric: dict[str, Metric] | None = None,
        additional_metrics: dict[str, Metric] | None = None,
        val_handlers: Sequence | None = None,
        amp: bool = False,
        amp_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.slices_per_pass = slices_per_pass
        self.inferer = SimpleInferer() if inferer is None else inferer
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            prepare_batch=prepare_batch,
            key_val_metric=key_val_metric,
            additional_metrics=additional_metrics,
            val_handlers=val_handlers,
            amp=amp,
            amp_kwargs={"dtype": torch.bfloat16} if amp_kwargs is None else amp_kwargs,
            decollate=False,
        )

    def _iteration(self, engine: SubjectEvaluator, batchdata: dict[str, Any]) -> Any:
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        self.network.eval()
        parts = []
        with torch.no_grad(), torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs):
            for start in range(0, len(batch["image"]), self.slices_per_pass):
                part = slice(start, start + self.slices_per_pass)
                parts.append(self.inferer(batch["image"][part], self.network, *self._conditions(batch, part)))
        output = self._output(parts, batch)
        self.state.batch = batch
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return output

    def _conditions(self, batch: dict[str, Any], part: slice) -> list[torch.Tensor]:
        """What the network takes beside the image, of a part of the slices."""
        return [batch["available"][part], batch["times_s"][part]]

    def _output(self, parts: list[dict[str, torch.Tensor]], batch: dict[str, Any]) -> Any:
        """``state.output`` from the network's answers about the parts."""
        outputs = {key: torch.cat([part[key] for part in parts]).float() for key in parts[0]}
        if "segmentation" in outputs:
            outputs["probability"] = outputs.pop("segmentation").sigmoid()
        return outputs


class ValidateAtIntervals(ValidationHandler):
    """Validate every ``interval`` epochs, and after the last one, so that no run ends without weights."""

    def attach(self, engine: Engine) -> None:
        """Validate ``engine``, the trainer."""

        def due(trainer: Engine, epoch: int) -> bool:
            return epoch % self.interval == 0 or epoch == trainer.state.max_epochs

        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=due), self)


class SubjectMetric(Metric):
    """Base of what is computed over subjects, one an iteration of a ``SubjectEvaluator``.

    ``update`` takes a subject's output and batch; ``compute`` gives quantities by name, which all enter the
    evaluator's metrics.
    """

    def iteration_completed(self, engine: Evaluator) -> None:
        """Add the subject of the current iteration."""
        self.update((engine.state.output, engine.state.batch))

    def completed(self, engine: Evaluator, name: str) -> None:
        """Put every quantity into the evaluator's metrics."""
        engine.state.metrics |= self.compute()


class SubjectScores(SubjectMetric):
    """Dice, accuracy and regression error by subject, and one number to choose weights by.

    Computed over subjects with a tumour, as ``results.metrics`` does on the native grid:

    - ``dice``: of the subject's stack at threshold 0.5;
    - ``accuracy``: class probabilities averaged over the slices by predicted tumour area;
    - ``mae``: mean absolute error of the area-weighted curve, normalised intensity;
    - ``mae_ratio``: ``mae`` over that of the training mean curve;
    - ``score``: mean of dice, accuracy and ``1 - mae_ratio``, of those that the network has.

    A network without segmentation is weighted by the true area.

    Args:
        mean_curve: ``(4,)`` the training split's mean curve, the reference of ``mae_ratio``.
    """

    def __init__(self, mean_curve: torch.Tensor) -> None:
        self.mean_curve = mean_curve
        super().__init__()

    def reset(self) -> None:
        """Forget all subjects."""
        self._subjects: list[dict[str, float]] = []

    def update(self, output: tuple[dict[str, torch.Tensor], dict[str, Any]]) -> None:
        """Add one subject's outputs and batch."""
        outputs, batch = output
        truth = batch["label"].float()
        true_area = truth.sum(dim=(1, 2, 3))
        if not true_area.any():
            return
        scores: dict[str, float] = {}
        area = true_area
        if "probability" in outputs:
            predicted = (outputs["probability"] >= 0.5).float()
            area = predicted.sum(dim=(1, 2, 3))
            scores["dice"] = float(2 * (predicted * truth).sum() / (predicted.sum() + truth.sum()))
        weights = area / area.sum() if area.any() else None
        if "classification" in outputs:
            tumour_class = int(batch["tumour_class"].max())
            probabilities = tumour_class_probabilities(outputs["classification"])
            found = weights is not None and scores.get("dice") != 0.0
            right = found and int((weights[:, None] * probabilities).sum(0).argmax()) == tumour_class
            scores["accuracy"] = float(right)
        if "regression" in outputs:
            there = batch["available"][0]
            true_curve = (true_area[:, None] * batch["curve"]).sum(0) / true_area.sum()
            mean_curve = self.mean_curve.to(true_curve)
            curve = mean_curve if weights is None else (weights[:, None] * outputs["regression"]).sum(0)
            scores["mae"] = float((curve - true_curve).abs()[there].mean())
            scores["mean_predictor_mae"] = float((mean_curve - true_curve).abs()[there].mean())
        self._subjects.append(scores)

    def completed(self, engine: Evaluator, name: str) -> None:
        """Put every quantity into the evaluator's metrics; the key metric is ``score``."""
        engine.state.metrics |= self.compute()

    def compute(self) -> dict[str, float]:
        """The quantities that the network has, over all subjects so far."""
        if not self._subjects:
            msg = "no validation subject has a tumour, so there is nothing to choose weights by. Add some to split val"
            raise DatasetError(msg)
        names = self._subjects[0].keys()
        means = {name: sum(s[name] for s in self._subjects) / len(self._subjects) for name in names}
        parts = [means[name] for name in ("dice", "accuracy") if name in means]
        if "mae" in means:
            means["mae_ratio"] = means["mae"] / max(means.pop("mean_predictor_mae"), 1e-8)
            parts.append(1.0 - means["mae_ratio"])
        return means | {"score": sum(parts) / len(parts)}
