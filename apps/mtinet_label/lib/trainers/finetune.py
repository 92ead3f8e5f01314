"""*Update Model*: fine-tunes the served weights on what readers corrected, and serves the new ones if not worse."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from lib.errors import AppError, BadRequestError
from lib.models import ModelShelf
from lib.settings import Settings
from lib.trainers.commands import CommandError, bundle_command, give_way, run, trained_image_size
from lib.trainers.dataset import ORIGINAL_CASES, TrainingSet, build, original_dataset
from lib.trainers.promotion import Measured, judge
from lib.trainers.record import Process, Record, TrainingRecord, now

logger = logging.getLogger(__name__)

TRAINING_FOLDER = "training"
"""In the state folder."""

LEARNING_RATE = 1e-4
_DECODER_DROPOUT = 0.1
_WARMUP_STEPS = 20
_BATCH_SIZE = 4
_KEEP_RUNS = 5
_LARGEST_EPOCHS, _LARGEST_ORIGINAL = 100, 1000


class ServerEndedError(AppError):
    """The server that started the training is gone."""


@dataclass(frozen=True)
class Wishes:
    """What a request may choose.

    Args:
        max_epochs: over the dataset.
        learning_rate: highest, of all parts of the network.
        original_cases: studies from the start that are mixed in, at most.
    """

    max_epochs: int
    learning_rate: float = LEARNING_RATE
    original_cases: int = ORIGINAL_CASES

    @classmethod
    def of(cls, request: Mapping[str, Any], *, epochs: int) -> Wishes:
        """The wishes of a request; what it does not say is as by default.

        Raises:
            BadRequestError: a number out of its range.
        """
        return cls(
            max_epochs=_number(request, "max_epochs", int, epochs, 1, _LARGEST_EPOCHS),
            learning_rate=_number(request, "learning_rate", float, LEARNING_RATE, 1e-7, 1e-2),
            original_cases=_number(request, "original_cases", int, ORIGINAL_CASES, 0, _LARGEST_ORIGINAL),
        )


class FineTune(TrainTask):
    """Fine-tunes with the bundle's own ``training`` in a process of its own.

    MONAI Label calls it in a process that it made for the training and ends to stop it. The record in the state folder
    says how far it is; see ``TrainingRecord`` for what happens when a process is killed.

    Args:
        shelf: of the served weights.
        settings: ``state``, ``epochs`` and ``original_data`` are used.
        overrides: further overrides of the bundle's configs, for networks other than the shipped one.
    """

    def __init__(self, shelf: ModelShelf, settings: Settings, *, overrides: Mapping[str, Any] | None = None) -> None:
        super().__init__("Fine-tune on the readers' masks and diagnoses; serve the new weights if they are not worse")
        self.shelf = shelf
        self.settings = settings
        self.folder = settings.state_dir / TRAINING_FOLDER
        self.record = TrainingRecord(self.folder)
        self._overrides = dict(overrides or {})

    def config(self) -> dict[str, Any]:
        """What a request may choose, with its defaults."""
        wishes = Wishes.of({}, epochs=self.settings.epochs)
        return {name: getattr(wishes, name) for name in ("max_epochs", "learning_rate", "original_cases")}

    def stats(self) -> dict[str, Any]:
        """The latest training."""
        return self.record.read().shown()

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, compare, and promote or not.

        Args:
            request: may hold what ``config`` names; nothing else of it is used.
            datastore: with ``source`` and ``labels``.

        Returns:
            The record, as ``stats``.

        Raises:
            BadRequestError: a number out of its range, or too few labelled studies.
            BusyError: a training runs already.
            CommandError: the bundle's training or evaluation failed; the record says so, too.
            DatasetError: the original data are no dataset.
        """
        wishes = Wishes.of(request, epochs=self.settings.epochs)
        server = starting_server()
        if server.pid != os.getpid():
            give_way()
        with self.record.alone():
            training = Training(self.record, server)
            try:
                self._train(training, wishes, datastore)
            except ServerEndedError as error:
                training.end("interrupted", str(error))
                raise
            except (AppError, CommandError) as error:
                training.end("failed", str(error))
                raise
            except Exception as error:
                # Whatever it was, the record must say that the training has ended. Its text may hold a path.
                training.end("failed", f"it failed: {type(error).__name__}; the weights are as they were")
                raise
        return self.stats()

    def _train(self, training: Training, wishes: Wishes, datastore: Datastore) -> None:
        folder = self.folder / "runs" / training.now.run
        self._tidy_up()
        served = self.shelf.current()
        dataset = build(
            folder / "dataset",
            source=datastore.source,
            labels=datastore.labels,
            original=original_dataset(self.settings.original_data),
            original_cases=wishes.original_cases,
            learned=self.shelf.learned(),
        )
        training.change(cases=dict(dataset.cases), left_out=dict(dataset.left_out))
        size = trained_image_size(served.file)
        training.change(state="training", message="learning from the corrected studies", epochs=wishes.max_epochs)
        run(
            bundle_command("training", "train.yaml", self._training(folder, dataset, served.file, size, wishes)),
            folder / "training.log",
            started=training.started,
            look=lambda: training.follow(folder / "progress.json"),
        )
        training.follow(folder / "progress.json")
        training.change(state="comparing", message="old and new weights on the held-out studies", eta_s=None)
        before = self._measured(training, folder / "before", dataset, served.file, size)
        training.change(before=before.shown())
        after = self._measured(training, folder / "after", dataset, folder / "train" / "model.pt", size)
        training.change(after=after.shown())
        verdict = judge(before, after)
        if verdict.promote:
            metrics = {"before": before.shown(), "after": after.shown(), "cases": dict(dataset.cases)}
            new = folder / "train" / "model.pt"
            self.shelf.promote(new, metrics=metrics, learned=dataset.learned, instead_of=served)
        training.end("promoted" if verdict.promote else "kept", verdict.reason)
        self._tidy_up()

    def _training(self, folder: Path, dataset: TrainingSet, weights: Path, size: int, wishes: Wishes) -> dict[str, Any]:
        return {
            "dataset_dir": dataset.folder,
            "output_dir": folder / "train",
            "cache_dir": self.folder / "cache",
            "init_ckpt": weights,
            "progress_file": folder / "progress.json",
            "image_size": size,
            "max_epochs": wishes.max_epochs,
            # One small lesion is two or three slices, which would not fill a larger batch.
            "batch_size": _BATCH_SIZE if dataset.cases["corrected"] + dataset.cases["original"] >= _BATCH_SIZE else 2,
            # Only the last epoch is validated and kept: choosing among epochs by the held-out studies would flatter it.
            "val_interval": wishes.max_epochs,
            "learning_rate": wishes.learning_rate,
            "head_learning_rate": wishes.learning_rate,
            "warmup_iterations": _WARMUP_STEPS,
            # The discriminator is not kept with the weights, and an untrained one teaches nothing in a few epochs.
            "adversarial_warmup_epochs": wishes.max_epochs,
            "network_def#decoder_dropout": _DECODER_DROPOUT,
            # The readers' studies were checked one by one, and one with a fault does not stop the others.
            "check_dataset": "false",
            "tensorboard": "false",
            **self._overrides,
        }

    def _measured(self, training: Training, folder: Path, dataset: TrainingSet, weights: Path, size: int) -> Measured:
        overrides = {
            "dataset_dir": dataset.folder,
            "output_dir": folder,
            "ckpt_path": weights,
            "image_size": size,
            "split": "val",
            "figures": "false",
            **{key: value for key, value in self._overrides.items() if key.startswith("network_def")},
        }
        command = bundle_command("evaluating", "evaluate.yaml", overrides)
        run(command, folder.with_suffix(".log"), started=training.started, look=training.require_server)
        return Measured.of(folder)

    def _tidy_up(self) -> None:
        """Numbers, logs and weights of the latest runs stay; images, linked or cached, and checkpoints do not."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        runs = sorted((self.folder / "runs").glob("*"), key=lambda path: path.stat().st_mtime)
        for old in runs[:-_KEEP_RUNS]:
            shutil.rmtree(old, ignore_errors=True)
        for run_folder in runs[-_KEEP_RUNS:]:
            for part in ("dataset", "train/checkpoints", "before/*/", "after/*/"):
                for found in run_folder.glob(part):
                    shutil.rmtree(found, ignore_errors=True)


class Training:
    """A training that runs, as its record says.

    Args:
        record: where it is written down.
        server: that must live on.
    """

    def __init__(self, record: TrainingRecord, server: Process) -> None:
        self._record = record
        self._said = ""
        run_id = f"{now().replace(':', '').replace('-', '')[:15]}-{secrets.token_hex(2)}"
        started = Record(state="preparing", run=run_id, started_at=now(), server=server)
        self.now = record.write(replace(started, message="gathering the labelled studies"))

    def change(self, **changes: Any) -> None:
        """Write down what has changed."""
        changed = replace(self.now, **changes)
        if changed != self.now:
            self.now = self._record.write(changed)
            self._say()

    def started(self, worker: Process) -> None:
        """A process works for it now."""
        self.change(worker=worker)

    def follow(self, progress_file: Path) -> None:
        """Take over what the bundle's training says about its progress.

        Raises:
            ServerEndedError: nobody waits for it any more.
        """
        self.require_server()
        try:
            progress = json.loads(progress_file.read_text())
        except (FileNotFoundError, ValueError):
            return
        names = ("epoch", "epochs", "iteration", "iterations", "loss", "eta_s")
        self.change(**{name: progress[name] for name in names})

    def require_server(self) -> None:
        """Stop where the server is gone.

        Raises:
            ServerEndedError: it is.
        """
        if not self.now.server.alive:
            msg = "interrupted: the server ended in the middle of it; the weights are as they were"
            raise ServerEndedError(msg)

    def end(self, state: str, message: str) -> None:
        """Write down how it ended."""
        self.change(state=state, message=message, ended_at=now(), eta_s=None, worker=None)

    def _say(self) -> None:
        """For MONAI Label, which shows the last lines of the process."""
        r = self.now
        steps = f", step {r.iteration} of {r.iterations}, loss {r.loss:.3f}" if r.loss is not None else ""
        left = f", {r.eta_s:.0f} s left" if r.eta_s is not None else ""
        said = f"{r.state}: {r.message}{steps if r.state == 'training' else ''}{left}"
        if said != self._said:
            logger.info("%s", said)
            self._said = said


def starting_server() -> Process:
    """The process that must live on: the server, which made this one for the training, or this one itself."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    made_for_it = main is not None and main.name == "monailabel.interfaces.utils.app"
    return Process.of(os.getppid() if made_for_it else os.getpid())


def _number(
    request: Mapping[str, Any], name: str, kind: Callable[[Any], Any], default: Any, low: float, high: float
) -> Any:
    value = request.get(name)
    if value is None or value == "":
        return default
    try:
        number = kind(value)
        if isinstance(value, bool) or not low <= number <= high:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        msg = f"{name} must be a number from {low:g} to {high:g}"
        raise BadRequestError(msg) from None
    return number
