"""What is read out of nnU-Net's log; the rest needs nnU-Net itself (``test_config.py``)."""

from __future__ import annotations

import numpy as np

from scripts.experiments.nnunet.model_facts import log_of


def test_an_epoch_without_tumour_in_its_validation_has_no_score():
    log = {
        "train_losses": [np.float32(0.5), 0.25],
        "val_losses": [0.75, 0.5],
        "lrs": [0.01, 0.005],
        # Of the regions in the order of dataset.json: the tumour first.
        "dice_per_class_or_region": [[np.float32(0.5), 0.125], [float("nan"), 0.25]],
        "epoch_start_timestamps": [10.0, 20.0],
        "epoch_end_timestamps": [14.0, 25.5],
    }
    assert list(log_of(log)) == [
        {"epoch": 1, "loss": 0.5, "learning_rate": 0.01, "val_loss": 0.75, "val_score": 0.5, "seconds": 4.0},
        {"epoch": 2, "loss": 0.25, "learning_rate": 0.005, "val_loss": 0.5, "val_score": None, "seconds": 5.5},
    ]
