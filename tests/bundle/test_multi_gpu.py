"""The multi-GPU overlay: two processes over gloo train as one, and go on where they stopped."""

from __future__ import annotations

import sys

import pytest
import torch

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")

# What each process holds at the end, for the test to compare.
SAVE_EACH_RANK = """
finalize:
  - >-
    $torch.save([dict(net.named_parameters()) for net in (@network_def, @discriminator_def)],
    os.path.join(@output_dir, f'rank{dist.get_rank()}.pt'))
  - $dist.destroy_process_group()
"""


def is_same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_two_processes_train_one_network_and_resume(bundle, short, cohort, tmp_path):
    overlay = tmp_path / "save_each_rank.yaml"
    overlay.write_text(SAVE_EACH_RANK)
    output_dir = tmp_path / "train"
    configs = ("train.yaml", "multi_gpu_train.yaml", str(overlay))
    settings = short | {"dataset_dir": cohort, "output_dir": output_dir, "adversarial_warmup_epochs": 0}

    networks = {}
    for epochs in (1, 2):
        overrides = settings | {"max_epochs": epochs, "resume": str(epochs > 1).lower()}
        process = bundle.start(*bundle.run_arguments("training", configs, overrides), launcher=TORCHRUN)
        finished = bundle.wait(process)
        assert finished.code == 0, finished.stdout
        ranks = [torch.load(output_dir / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
        for one, other in zip(*ranks, strict=True):
            assert is_same(one, other)
        networks[epochs] = ranks[0]
    assert "resuming after epoch 1 of 2" in finished.stdout

    for before, after in zip(networks[1], networks[2], strict=True):
        assert not is_same(before, after)
    assert sorted(path.name for path in (output_dir / "checkpoints").iterdir()) == [
        "checkpoint_epoch=1.pt",
        "checkpoint_epoch=2.pt",
    ]
    # One set of files: a run each has one file of events, from the first process alone.
    assert len(list((output_dir / "tensorboard").iterdir())) == 2
    # The bare names of the network, so that a single process can load them.
    assert not any(name.startswith("module.") for name in torch.load(output_dir / "model.pt", weights_only=True))


@pytest.mark.slow
def test_two_processes_train_a_compared_system_without_a_discriminator(bundle, short, cohort, tmp_path):
    overlay = tmp_path / "save_each_rank.yaml"
    overlay.write_text(SAVE_EACH_RANK.replace("(@network_def, @discriminator_def)", "(@network_def,)"))
    output_dir = tmp_path / "train"
    configs = ("train.yaml", "experiments/googlenet_regression.yaml", "multi_gpu_train.yaml", str(overlay))
    settings = {key: value for key, value in short.items() if not key.startswith("network_def#")}
    settings |= {"dataset_dir": cohort, "output_dir": output_dir, "adversarial_warmup_epochs": 0}

    process = bundle.start(*bundle.run_arguments("training", configs, settings), launcher=TORCHRUN)
    finished = bundle.wait(process)
    assert finished.code == 0, finished.stdout
    (one,), (other,) = (torch.load(output_dir / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert is_same(one, other)
    assert all(value.isfinite().all() for value in one.values())
    checkpoint = torch.load(output_dir / "checkpoints" / "checkpoint_epoch=1.pt", weights_only=True)
    assert "network" in checkpoint
    assert "discriminator" not in checkpoint
    assert "discriminator_loss" not in (output_dir / "training_log.csv").read_text()
