"""*Update Model*: what a request may choose, what becomes of the weights, and once the whole of it for real."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lib.errors import BadRequestError, BusyError
from lib.trainers import finetune
from lib.trainers.commands import CommandError, bundle_command
from lib.trainers.finetune import FineTune, Wishes, starting_server
from scripts.domain.errors import ConfigurationError
from scripts.engines.weights import load_weights, save_atomically

CASES = ("liver-01", "liver-02", "liver-03", "liver-04")


@pytest.fixture
def task(narrow_shelf, settings, narrow_overrides):
    return FineTune(narrow_shelf, settings, overrides=narrow_overrides | {"batch_size": 2})


class PlayedBundle:
    """Stands for the bundle's processes: writes what they would, and remembers what it was asked."""

    def __init__(self, dice=(0.5, 0.6), accuracy=(0.5, 0.5), fails=""):
        self.dice, self.accuracy, self.fails = iter(dice), iter(accuracy), fails
        self.asked = []

    def run(self, command, log, *, started, look=None):
        run_id = command[4]
        options = dict(zip(command[7::2], command[8::2], strict=True))
        options = {key.removeprefix("--"): value for key, value in options.items()}
        self.asked.append((run_id, options))
        if run_id == self.fails:
            msg = f"the {run_id} process ended with code 1"
            raise CommandError(msg)
        folder = Path(options["output_dir"])
        folder.mkdir(parents=True)
        if run_id == "training":
            weights = load_weights(options["init_ckpt"])
            save_atomically(
                {key: value + 1 if key == "mean_curve" else value for key, value in weights.items()},
                folder / "model.pt",
            )
            progress = {"epoch": 1, "epochs": 1, "iteration": 7, "iterations": 7, "loss": 0.25, "eta_s": 0.0}
            Path(options["progress_file"]).write_text(json.dumps(progress))
        else:
            values = {"dsc_mean": next(self.dice), "accuracy": next(self.accuracy)}
            metrics = {name: {"value": value, "ci95": [0.0, 1.0], "n": 2} for name, value in values.items()}
            (folder / "metrics.json").write_text(json.dumps(metrics))
            (folder / "per_subject.csv").write_text("case,true_class,predicted_lesions\na,hcc,1\nb,hcc,1\n")


@pytest.fixture
def play(monkeypatch):
    def make(**outcome):
        bundle = PlayedBundle(**outcome)
        monkeypatch.setattr(finetune, "run", bundle.run)
        return bundle

    return make


@pytest.mark.parametrize(
    "request_",
    [
        {"max_epochs": 0},
        {"max_epochs": 101},
        {"max_epochs": "many"},
        {"max_epochs": True},
        {"learning_rate": 1.0},
        {"learning_rate": "nan"},
        {"learning_rate": -1e-4},
        {"original_cases": -1},
        {"original_cases": [3]},
    ],
)
def test_numbers_out_of_their_range_are_refused(task, datastore, request_):
    with pytest.raises(BadRequestError, match="must be a number from"):
        task(request_, datastore)
    assert task.stats()["state"] == "none"


def test_what_a_request_does_not_say_is_as_the_settings_have_it(settings):
    assert Wishes.of({"model": "mtinet", "max_epochs": ""}, epochs=7).max_epochs == 7
    assert Wishes.of({"max_epochs": "3", "original_cases": 0}, epochs=7) == Wishes(3, original_cases=0)


def test_too_few_labels_are_a_failure_that_is_written_down(task, datastore, play):
    bundle = play()
    with pytest.raises(BadRequestError, match="labelled studies"):
        task({}, datastore)
    assert task.stats()["state"] == "failed"
    assert "0 of 0 labelled studies" in task.stats()["message"]
    assert bundle.asked == []


def test_while_one_runs_another_is_refused(task, datastore):
    with task.record.alone(), pytest.raises(BusyError, match="running already"):
        task({}, datastore)


def test_a_training_that_fails_leaves_the_weights_and_says_so(task, datastore, label_as_reader, play, narrow_shelf):
    label_as_reader(*CASES)
    play(fails="training")
    with pytest.raises(CommandError):
        task({}, datastore)
    assert task.stats()["state"] == "failed"
    assert "training process ended with code 1" in task.stats()["message"]
    assert narrow_shelf.current().version == "1.0.0"


def test_a_path_in_an_errors_text_is_not_shown(task, datastore, label_as_reader, play, monkeypatch):
    label_as_reader(*CASES)
    play()

    def broken(*args):
        raise ConfigurationError("/secret/place is wrong")

    monkeypatch.setattr(finetune, "judge", broken)
    with pytest.raises(ConfigurationError):
        task({}, datastore)
    assert task.stats()["message"] == "it failed: ConfigurationError; the weights are as they were"


def test_weights_that_are_not_worse_are_promoted_and_the_old_ones_stay(
    task, datastore, label_as_reader, play, narrow_shelf
):
    label_as_reader(*CASES)
    play(dice=(0.5, 0.6))
    ended = task({"max_epochs": 3}, datastore)
    assert ended["state"] == "promoted"
    assert (ended["iteration"], ended["loss"]) == (7, 0.25)
    assert (ended["before"]["dice"], ended["after"]["dice"]) == (0.5, 0.6)
    served = narrow_shelf.current()
    assert served.version == "1.0.0+1"
    assert served.metrics["after"]["dice"] == 0.6
    assert load_weights(served.file)["mean_curve"].tolist() == [1.0] * 4
    assert narrow_shelf.rollback().version == "1.0.0"


def test_worse_weights_are_not_promoted(task, datastore, label_as_reader, play, narrow_shelf):
    label_as_reader(*CASES)
    play(dice=(0.6, 0.5))
    assert task({}, datastore)["state"] == "kept"
    assert narrow_shelf.current().version == "1.0.0"
    assert "the old ones stay" in task.stats()["message"]


def test_it_starts_from_the_served_weights_and_both_are_judged_on_the_held_out_studies(
    task, datastore, label_as_reader, play, narrow_shelf
):
    label_as_reader(*CASES)
    bundle = play()
    task({"max_epochs": 3, "learning_rate": 5e-4}, datastore)
    assert [run_id for run_id, _ in bundle.asked] == ["training", "evaluating", "evaluating"]
    training, before, after = (options for _, options in bundle.asked)
    shipped = str(narrow_shelf.current().file if narrow_shelf.current().version == "1.0.0" else narrow_shelf.shipped)
    assert training["init_ckpt"] == before["ckpt_path"] == shipped
    assert after["ckpt_path"].startswith(training["output_dir"])
    assert before["dataset_dir"] == after["dataset_dir"] == training["dataset_dir"]
    assert before["split"] == after["split"] == "val"
    assert (training["max_epochs"], training["val_interval"], training["learning_rate"]) == ("3", "3", "0.0005")
    assert training["image_size"] == before["image_size"] == "32"


def test_a_rollback_in_the_middle_of_a_training_is_not_undone_by_it(
    task, datastore, label_as_reader, play, narrow_shelf, monkeypatch
):
    label_as_reader(*CASES)
    play(dice=(0.5, 0.6))
    task({}, datastore)
    bundle = play(dice=(0.6, 0.7))

    def run(command, *args, **options):
        bundle.run(command, *args, **options)
        if command[4] == "training":
            narrow_shelf.rollback()

    monkeypatch.setattr(finetune, "run", run)
    with pytest.raises(BadRequestError, match="other weights were put in place meanwhile"):
        task({}, datastore)
    assert task.stats()["state"] == "failed"
    assert narrow_shelf.current().version == "1.0.0"


def test_what_was_learned_from_is_kept_with_the_promoted_weights(task, datastore, label_as_reader, play, narrow_shelf):
    label_as_reader(*CASES)
    play()
    cases = task({}, datastore)["cases"]
    learned = narrow_shelf.learned()
    assert learned < set(CASES)
    assert len(learned) == cases["corrected"]


def test_no_image_stays_behind(task, datastore, label_as_reader, play):
    label_as_reader(*CASES)
    play()
    task({}, datastore)
    assert not list(task.folder.rglob("*.nii.gz"))
    assert not list(task.folder.rglob("*.npy"))


def test_only_the_latest_runs_are_kept(task, datastore, label_as_reader, play):
    label_as_reader(*CASES)
    for _ in range(7):
        play()
        task({}, datastore)
    assert len(list((task.folder / "runs").iterdir())) <= 5


def test_the_process_that_monai_label_makes_for_a_training_depends_on_the_server(monkeypatch):
    import os

    assert starting_server().pid == os.getpid()
    main = SimpleNamespace(__spec__=SimpleNamespace(name="monailabel.interfaces.utils.app"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert starting_server().pid == os.getppid()


def test_the_command_is_the_bundles_own():
    command = bundle_command("training", "train.yaml", {"max_epochs": 3})
    assert command[1:5] == ["-m", "monai.bundle", "run", "training"]
    assert Path(command[6]).is_file()
    assert command[-2:] == ["--max_epochs", "3"]


@pytest.mark.slow
def test_for_real_it_trains_compares_and_decides(task, datastore, label_as_reader, narrow_shelf):
    label_as_reader(*CASES)
    ended = task({"max_epochs": 2, "learning_rate": 1e-4}, datastore)
    assert ended["state"] in ("promoted", "kept")
    assert ended["epoch"] == ended["epochs"] == 2
    assert ended["iteration"] == ended["iterations"] > 0
    assert ended["before"]["subjects"] == ended["after"]["subjects"] > 0
    new = load_weights(task.folder / "runs" / ended["run"] / "train" / "model.pt")
    old = load_weights(narrow_shelf.shipped)
    assert new.keys() == old.keys()
    assert not torch.equal(new["decoder.logit.weight"], old["decoder.logit.weight"])
    assert (narrow_shelf.current().version == "1.0.0+1") == (ended["state"] == "promoted")
    assert not [*task.folder.rglob("*.nii.gz"), *task.folder.rglob("*.npy")]
