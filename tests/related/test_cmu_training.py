"""CMU-Net's trainings: what is validated, and that two stages are two stages and resume exactly."""

import csv

import pytest
import torch
from ignite.engine import Events

from scripts.domain.errors import ConfigurationError, DatasetError
from scripts.related.cmu_training import OrganScores, require_livers

ARMS = ("cmu_unet", "cmu_punet", "cmu_net")
TINY = {"image_size": 64, "network_def#widths": [4, 4, 4, 8, 8], "max_epochs": 2, "batch_size": 4}


class InterruptedTrainingError(Exception):
    pass


def configs(arm):
    return ["cmu_net.yaml", f"experiments/{arm}.yaml"]


@pytest.fixture(scope="module")
def settings(liver_dir, tmp_path_factory):
    return TINY | {"dataset_dir": liver_dir, "cache_dir": tmp_path_factory.mktemp("cache"), "restart_epochs": 2}


@pytest.fixture(scope="module")
def trained(run, settings, tmp_path_factory):
    """By arm, the folder of an uninterrupted run of two epochs (a stage)."""
    folders = {arm: tmp_path_factory.mktemp(arm) for arm in ARMS}
    for arm, folder in folders.items():
        run(configs(arm), "training", **settings, output_dir=folder)
    return folders


def log_of(folder):
    with (folder / "training_log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights_of(path):
    return torch.load(path, weights_only=True)


def test_a_dataset_without_liver_masks_is_refused(dataset_dir):
    (dataset_dir / "liver" / "liver-02.nii.gz").unlink()
    with pytest.raises(SystemExit, match=r"1 of 5 cases have no liver mask \(liver-02\)"):
        require_livers(str(dataset_dir))


def test_validation_without_the_organ_is_refused():
    with pytest.raises(DatasetError, match="no validation subject has the organ"):
        OrganScores().compute()


def test_an_unknown_task_is_refused():
    with pytest.raises(ConfigurationError, match="'regression' is none of segmentation, classification"):
        OrganScores("regression")


@pytest.mark.parametrize(("task", "score"), [("segmentation", 0.8), ("classification", 0.75)])
def test_the_score_is_that_of_the_task(task, score):
    label = torch.zeros(3, 1, 2, 2)
    label[0], label[1, 0, 0] = 1.0, 1.0
    probability = label.clone()
    probability[1] = 0.0  # 4 of 6 pixels found, none too many: Dice 8 / 10
    organ = torch.tensor([[1.0], [-1.0], [-1.0]])
    metric = OrganScores(task)
    metric.update(({"probability": probability, "organ": organ}, {"label": label}))
    found = metric.compute()
    assert found["dice"] == pytest.approx(0.8)
    assert found["organ_balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["score"] == pytest.approx(score)


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_trains_and_its_loss_falls(arm, trained):
    first, last = log_of(trained[arm])
    assert float(last["loss"]) < float(first["loss"])
    assert last["val_score"] == last["val_dice"]
    assert ("classification" in last) == (arm == "cmu_net")


def test_the_learning_rate_starts_again(run, settings, tmp_path):
    run(configs("cmu_net"), "training", **settings | {"output_dir": tmp_path, "max_epochs": 4})
    # As EpochAverages reads it, before the schedule's step: the rate that the epoch was trained with.
    rates = [float(row["learning_rate"]) for row in log_of(tmp_path)]
    assert rates == pytest.approx([1e-3, 0.5e-3, 1e-3, 0.5e-3])


def test_the_pre_training_moves_the_encoder_alone(trained, settings, prepared):
    folder = trained["cmu_punet"]
    start = prepared(configs("cmu_punet"), "training", settings | {"output_dir": folder}).parser
    before = start.get_parsed_content("network_def").state_dict()
    pretrained = weights_of(folder / "pretraining" / "model.pt")
    for name, value in pretrained.items():
        if name.startswith(("decoder", "segment")):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(pretrained["encoder.0.0.weight"], before["encoder.0.0.weight"])
    assert set(log_of(folder / "pretraining")[0]) >= {"classification", "val_organ_balanced_accuracy"}


def test_the_second_stage_starts_from_the_best_of_the_first(settings, prepared, tmp_path):
    workflow = prepared(configs("cmu_punet"), "training", settings | {"output_dir": tmp_path})
    network = workflow.parser.get_parsed_content("network_def")
    trainer, at_start = workflow.parser.get_parsed_content("train#trainer"), {}

    def remember(engine):
        at_start.update({name: value.clone() for name, value in network.state_dict().items()})

    trainer.add_event_handler(Events.STARTED, remember)
    workflow.run()
    best = weights_of(tmp_path / "pretraining" / "model.pt")
    assert all(torch.equal(at_start[name], value) for name, value in best.items())


@pytest.mark.parametrize(("arm", "stage"), [("cmu_net", "train"), ("cmu_punet", "pretrain"), ("cmu_punet", "train")])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(arm, stage, trained, settings, run, prepared, tmp_path):
    workflow = prepared(configs(arm), "training", settings | {"output_dir": tmp_path})

    def interrupt(engine):
        if engine.state.epoch == 2:
            raise InterruptedTrainingError

    workflow.parser.get_parsed_content(f"{stage}#trainer").add_event_handler(Events.ITERATION_COMPLETED, interrupt)
    with pytest.raises(RuntimeError) as stopped:
        workflow.run()
    assert isinstance(stopped.value.__cause__, InterruptedTrainingError)
    run(configs(arm), "training", **settings, output_dir=tmp_path, resume=True)
    ours, theirs = (weights_of(folder / "model.pt") for folder in (tmp_path, trained[arm]))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert log_of(tmp_path) == log_of(trained[arm])


def test_checkpoints_of_an_earlier_run_are_not_overwritten(trained, settings, run):
    with pytest.raises(SystemExit, match="Go on with --resume true"):
        run(configs("cmu_net"), "training", **settings, output_dir=trained["cmu_net"])


def test_a_finished_run_has_nothing_left_to_do(trained, settings, run):
    model = trained["cmu_punet"] / "model.pt"
    before = model.stat().st_mtime_ns
    run(configs("cmu_punet"), "training", **settings, output_dir=trained["cmu_punet"], resume=True)
    assert model.stat().st_mtime_ns == before
