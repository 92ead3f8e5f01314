import json
import threading
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lib.analysis import Analyser, _prepare
from lib.errors import BusyError
from lib.models import SHIPPED_WEIGHTS, ModelShelf
from lib.studies.study import OpenStudy
from scripts.domain.errors import CheckpointError, StudyError
from scripts.engines.weights import load_weights, save_atomically
from scripts.studies.reading import read_study


def test_a_study_that_cannot_be_read_is_refused_and_leaves_the_queue(
    analyser: Analyser, opened_study: OpenStudy
) -> None:
    opened_study.case.phase_files[2].write_bytes(b"\x1f\x8bno")
    with pytest.raises(StudyError):
        analyser.analyse(opened_study)
    assert analyser.queue.state().running == 0
    assert not list(analyser.cache_dir.glob("*"))


def test_a_study_whose_files_are_gone(analyser: Analyser, opened_study: OpenStudy) -> None:
    opened_study.case.phase_files[2].unlink()
    with pytest.raises(StudyError, match="is gone"):
        analyser.analyse(opened_study)


def test_damaged_weights_are_not_served(shelf: ModelShelf, tmp_path: Path) -> None:
    model = shelf.promote(SHIPPED_WEIGHTS, metrics={})
    content = model.file.read_bytes()
    model.file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="Roll back"):
        _prepare(model)


def test_busy_while_the_queue_is_full(make_analyser: Callable[..., Analyser], opened_study: OpenStudy) -> None:
    analyser = make_analyser(waiting=0)
    with analyser.queue.turn(), pytest.raises(BusyError):
        analyser.analyse(opened_study)


def test_the_cache_answers_while_the_queue_is_full(
    make_analyser: Callable[..., Analyser], opened_study: OpenStudy
) -> None:
    analyser = make_analyser(waiting=0)
    first = analyser.analyse(opened_study)
    with analyser.queue.turn():
        again = analyser.analyse(opened_study)
    assert again.result == first.result
    for name in ("mask", "tumour", "affine", "regression", "classification"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))


def test_many_requests_for_one_study_are_one_analysis(analyser: Analyser, opened_study: OpenStudy) -> None:
    inferer, runs = analyser.prepared().inferer, []
    original = type(inferer).__call__
    answers = []

    class Counting(type(inferer)):
        def __call__(self, *args: object, **kwargs: object) -> object:
            runs.append(1)
            return original(self, *args, **kwargs)

    inferer.__class__ = Counting
    try:
        threads = [threading.Thread(target=lambda: answers.append(analyser.analyse(opened_study))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        inferer.__class__ = Counting.__mro__[1]
    assert len(runs) == 1
    assert all(answer.result == answers[0].result for answer in answers)
    assert len(answers) == 8


def test_a_damaged_cache_is_made_again(analyser: Analyser, opened_study: OpenStudy) -> None:
    first = analyser.analyse(opened_study)
    (file,) = analyser.cache_dir.glob("*.npz")
    whole = file.read_bytes()
    # Cut off, and with bytes turned over: in a packed file that ends in many kinds of errors, zlib's own among them.
    for damaged in (whole[:500], *(_turned_over(whole, start) for start in range(0, len(whole) - 20, 997))):
        file.write_bytes(damaged)
        kept = analyser.cached(opened_study)
        assert kept is None or kept.result == first.result
    file.write_bytes(whole[:500])
    assert analyser.analyse(opened_study).result == first.result


def _turned_over(content: bytes, start: int) -> bytes:
    return content[:start] + bytes(255 - byte for byte in content[start : start + 20]) + content[start + 20 :]


def test_replaced_files_are_analysed_again(analyser: Analyser, opened_study: OpenStudy) -> None:
    first = analyser.analyse(opened_study)
    pre, _, _, delayed = opened_study.case.phase_files
    delayed.write_bytes(pre.read_bytes())
    assert analyser.analyse(opened_study).result.normalisation != first.result.normalisation


def test_the_same_numbers_as_inferring(analyser: Analyser, opened_study: OpenStudy, tmp_path: Path) -> None:
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config("bundle/configs/inference.yaml")
    parser.read_meta("bundle/configs/metadata.json")
    folder = opened_study.case.phase_files[0].parent
    parser.update({"dataset_dir": str(folder.parent), "output_dir": str(tmp_path / "out"), "figures": False})
    parser["dataset"]["cases"] = "$[case for case in @opened.cases if case.case == 'liver-01']"
    parser["handlers"] = ["@writer"]
    parser.get_parsed_content("inferring")

    written = json.loads((tmp_path / "out" / "liver-01" / "result.json").read_text())
    analysed = analyser.analyse(opened_study)
    assert analysed.result.to_dict() == written
    mask = nib.load(tmp_path / "out" / "liver-01" / "mask.nii.gz")
    np.testing.assert_array_equal(analysed.mask, np.asarray(mask.dataobj))
    np.testing.assert_allclose(analysed.affine, mask.affine, atol=1e-4)


def test_the_prediction_comes_back_in_the_study_s_order(analyser: Analyser, opened_study: OpenStudy) -> None:
    analysed = analyser.analyse(opened_study)
    study = read_study(opened_study.case)
    prepared = analyser.prepared()
    direct = prepared.inferer(study, prepared.network)
    np.testing.assert_allclose(analysed.prediction(study).tumour, direct.tumour, atol=6e-4)
    np.testing.assert_array_equal(analysed.prediction(study).regression, direct.regression)


def test_promoted_weights_answer_from_then_on(shelf: ModelShelf, analyser: Analyser, opened_study: OpenStudy) -> None:
    old = analyser.analyse(opened_study)
    weights = load_weights(SHIPPED_WEIGHTS)
    name = next(k for k in weights if k.startswith("decoder") and weights[k].dtype == torch.float32)
    changed = shelf.folder.parent / "changed.pt"
    save_atomically(weights | {name: weights[name] * 1.5}, changed)
    promoted = shelf.promote(changed, metrics={})
    assert analyser.cached(opened_study) is None
    new = analyser.analyse(opened_study)
    assert new.result.model == {"version": promoted.version, "weights_sha256": promoted.sha256}
    assert np.abs(new.tumour.astype(np.float32) - old.tumour).max() > 0.01
    shelf.rollback()
    assert analyser.analyse(opened_study).result == old.result
