"""Reading ahead, and going on past a study that cannot be read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scripts.domain.errors import StudyError
from scripts.engines.evaluation import CohortReport, ResultWriter, Scorer
from scripts.engines.inferer import StudyInferer
from scripts.engines.study_evaluator import Analysis, ReadAhead, StudyDataset, StudyEvaluator
from scripts.networks.mtinet import MTINet
from scripts.studies.layout import read_dataset


class Numbers:
    """Counts how far it was read."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        if isinstance(self.values[index], Exception):
            raise self.values[index]
        return self.values[index]


def test_reading_ahead_keeps_the_order():
    assert list(ReadAhead(Numbers([3, 1, 2]))) == [3, 1, 2]


def test_an_unforeseen_error_is_not_lost():
    with pytest.raises(ZeroDivisionError):
        list(ReadAhead(Numbers([3, ZeroDivisionError(), 2])))


@pytest.fixture
def evaluator(dataset_dir, network, tmp_path):
    cases = read_dataset(dataset_dir)
    writer, scorer = ResultWriter(tmp_path / "out"), Scorer(tmp_path / "out")
    return StudyEvaluator(
        "cpu",
        ReadAhead(StudyDataset(cases)),
        network,
        StudyInferer(size=64, backend="torch"),
        val_handlers=[writer, scorer, CohortReport(tmp_path / "out", writer, scorer)],
    )


def test_every_study_leaves_its_results_and_the_cohort_its_own(evaluator, tmp_path, dataset_dir):
    evaluator.run()
    assert isinstance(evaluator.state.output, Analysis)
    for case in read_dataset(dataset_dir):
        names = {path.name for path in (tmp_path / "out" / case.case).iterdir()}
        assert names == {"mask.nii.gz", "result.json", "figure.png"}
    cohort = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert cohort == {"metrics.json", "per_subject.csv", "report.html", "summary.json"}


def test_only_the_named_cases_keep_their_folders(evaluator, tmp_path, dataset_dir):
    folder = tmp_path / "kept"
    writer, scorer = ResultWriter(folder, keep=["liver-02"]), Scorer(folder)
    for handler in (writer, scorer, CohortReport(folder, writer, scorer)):
        handler.attach(evaluator)
    evaluator.run()
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["liver-02"]
    assert len(writer.results) == 5
    assert writer.figure("liver-02").exists()
    assert writer.figure("liver-01") is None
    assert (folder / "report.html").exists()


def test_a_damaged_study_is_named_and_the_others_go_on(evaluator, tmp_path, dataset_dir):
    cases = read_dataset(dataset_dir)
    damaged = cases[1].phase_files[2]
    damaged.write_bytes(damaged.read_bytes()[:200])
    evaluator.run()
    assert list(evaluator.failures) == [cases[1].case]
    assert isinstance(evaluator.failures[cases[1].case], StudyError)
    assert damaged.name in str(evaluator.failures[cases[1].case])
    assert not (tmp_path / "out" / cases[1].case).exists()
    assert (tmp_path / "out" / cases[0].case / "result.json").exists()


def test_a_network_that_does_not_segment_reads_the_given_lesion(dataset_dir, tmp_path):
    torch.manual_seed(0)
    head = {"token_grid": 2, "d_model": 16, "heads": 2, "ffn": 16, "blocks": 1}
    network = MTINet(widths=(4, 4, 8, 8), tasks=("classification",), **head)
    evaluator = StudyEvaluator(
        "cpu", ReadAhead(StudyDataset(read_dataset(dataset_dir))), network, StudyInferer(size=64)
    )
    evaluator.run()
    analysis = evaluator.state.output
    assert analysis.prediction.mask_given
    assert np.array_equal(analysis.prediction.tumour > 0, analysis.study.label > 0)
    evaluator.data_loader = ReadAhead(StudyDataset([replace(read_dataset(dataset_dir)[0], label_file=None)]))
    evaluator.state.epoch_length = 1
    evaluator.run()
    (error,) = evaluator.failures.values()
    assert "does not segment, so the lesion must be given" in str(error)
