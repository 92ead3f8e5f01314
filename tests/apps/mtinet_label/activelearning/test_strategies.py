"""The strategies, with signals that are known; and how studies get theirs in the background."""

from __future__ import annotations

import random
import threading
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from lib.activelearning.scorer import SignalScorer, signals_of
from lib.activelearning.signals import Signals
from lib.activelearning.strategies import strategies
from lib.errors import UnknownError
from lib.queue import AnalysisQueue
from lib.studies.folder import FolderSource
from scripts.studies.layout import read_dataset
from scripts.studies.reading import read_study

SIGNALLED = ("uncertainty", "consistency", "diverse")


def signals(uncertainty=0.0, consistency=0.0, features=(0.0, 0.0)):
    return Signals(uncertainty, consistency, np.array(features, dtype=np.float32))


class AnalyserWithNetwork:
    """What the scorer needs of an analyser."""

    def __init__(self, network, sha256="a" * 64):
        self.queue = AnalysisQueue(8)
        self.network = network
        self.shelf = SimpleNamespace(current=lambda: SimpleNamespace(sha256=self.sha256))
        self.sha256 = sha256

    def prepared(self):
        return SimpleNamespace(model=self.shelf.current(), network=self.network)


@pytest.fixture
def make_scorer(small_network, tmp_path):
    def make(source=None, **options):
        return SignalScorer(AnalyserWithNetwork(small_network), source, tmp_path / "signals", **options)

    return make


@pytest.fixture
def folder_scorer(make_scorer, dataset_dir):
    return make_scorer(FolderSource(dataset_dir))


def finish(scorer):
    """Wait for the background's end."""
    worker = scorer._worker
    if worker is not None:
        worker.join(timeout=60)
        assert not worker.is_alive()


@pytest.mark.parametrize("name", ["random", *SIGNALLED])
def test_where_all_are_labelled_there_is_no_next_sample(make_scorer, make_store, name):
    assert strategies(make_scorer())[name]({}, make_store()) is None


def test_a_study_that_cannot_be_opened_is_left_to_chance_and_not_tried_again(make_scorer, make_store):
    tried = []

    class Broken:
        def open(self, case):
            tried.append(case)
            raise UnknownError("no such study")

    scorer = make_scorer(Broken())
    strategy = strategies(scorer)["uncertainty"]
    for _ in range(2):
        answer = strategy({}, make_store(["a"]))
        finish(scorer)
        assert answer["id"] == "a"
        assert answer["measured"] == 0
    assert tried == ["a"]


def test_a_study_that_could_not_be_opened_is_tried_again_later(make_scorer, make_store, monkeypatch):
    tried = []

    class Down:
        def open(self, case):
            tried.append(case)
            raise ConnectionError

    scorer = make_scorer(Down())
    for pause in (600.0, 0.0):
        monkeypatch.setattr("lib.activelearning.scorer._TRY_AGAIN_S", pause)
        strategies(scorer)["uncertainty"]({}, make_store(["a"]))
        finish(scorer)
    assert tried == ["a", "a"]


def test_chance_takes_every_unlabelled_study_now_and_then(make_scorer, make_store):
    strategy = strategies(make_scorer())["random"]
    assert {strategy({}, make_store("abc"))["id"] for _ in range(60)} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("name", "expected"), [("uncertainty", "unsure"), ("consistency", "contradictory"), ("diverse", "odd")]
)
def test_each_strategy_takes_the_study_that_stands_out_by_its_own_signal(make_scorer, make_store, name, expected):
    scorer = make_scorer()
    known = {
        "unsure": signals(uncertainty=1.5, consistency=0.1, features=(0.1, 0.0)),
        "contradictory": signals(uncertainty=0.1, consistency=0.9, features=(0.0, 0.1)),
        "odd": signals(uncertainty=0.2, consistency=0.2, features=(5.0, 5.0)),
        "labelled": signals(uncertainty=9.0, consistency=9.0),
    }
    for case, each in known.items():
        scorer.stored.keep(case, "a" * 64, each)
    answer = strategies(scorer)[name]({}, make_store(["unsure", "contradictory", "odd"], ["labelled"]))
    assert answer["id"] == expected
    assert answer["measured"] == 3
    assert answer["weight"] > 0.5


def test_the_first_request_waits_for_a_first_study_and_later_ones_know_more(folder_scorer, make_store, monkeypatch):
    # On a busy machine the low priority of the measuring shows.
    monkeypatch.setattr(folder_scorer, "wait_for_one", partial(folder_scorer.wait_for_one, longest_s=120.0))
    strategy = strategies(folder_scorer)["uncertainty"]
    store = make_store(["liver-01", "liver-02", "liver-03", "liver-04", "liver-05"])
    first = strategy({}, store)
    assert first["id"] in store.unlabelled
    assert first["measured"] >= 1
    finish(folder_scorer)
    assert len(folder_scorer.known(store.unlabelled)) == 4
    strategy({}, store)
    finish(folder_scorer)
    assert strategy({}, store)["measured"] == 5


def test_other_weights_have_other_signals(folder_scorer):
    folder_scorer.measure("liver-01")
    assert list(folder_scorer.known(["liver-01"])) == ["liver-01"]
    folder_scorer.analyser.sha256 = "b" * 64
    assert folder_scorer.known(["liver-01"]) == {}


def test_signals_survive_a_restart_and_damaged_ones_are_measured_again(folder_scorer, make_scorer):
    measured = folder_scorer.measure("liver-01")
    stored = make_scorer().known(["liver-01"])["liver-01"]
    assert (stored.uncertainty, stored.consistency) == (measured.uncertainty, measured.consistency)
    np.testing.assert_array_equal(stored.features, measured.features)
    file = next(folder_scorer.stored.folder.rglob("*.npz"))
    file.write_bytes(b"half")
    assert folder_scorer.known(["liver-01"]) == {}


def test_a_name_that_is_no_cases_has_no_signals(folder_scorer):
    assert folder_scorer.known(["../../liver-01", "a/b"]) == {}


def test_a_study_has_the_signals_of_its_slices(dataset_dir, small_network):
    study = read_study(read_dataset(dataset_dir)[0])
    found = signals_of(study, small_network)
    assert found.features.shape == (32,)
    assert found.consistency > 0


def test_a_request_fetches_at_most_one_study_from_a_pacs(make_scorer):
    source = SimpleNamespace(is_local=lambda case: case in ("here-1", "here-2"))
    scorer = make_scorer(source)
    scorer._work = lambda: None
    chosen = scorer.want(["far-1", "here-1", "far-2", "here-2", "far-3"], random.Random(0))
    assert set(chosen[:2]) == {"here-1", "here-2"}
    assert len(chosen) == 3


def test_however_many_requests_come_few_studies_wait(make_scorer):
    scorer = make_scorer(SimpleNamespace())
    scorer._work = lambda: None
    for seed in range(10):
        scorer.want([f"case-{i}" for i in range(100)], random.Random(seed))
    assert len(scorer._wanted) == scorer.studies_a_request


def test_analyses_that_readers_wait_for_go_first(folder_scorer, make_store):
    started = threading.Event()
    folder_scorer.measure = lambda case: started.set()
    with folder_scorer.analyser.queue.turn():
        folder_scorer.want(["liver-01"], random.Random(0))
        assert not started.wait(timeout=0.5)
    assert started.wait(timeout=30)
    finish(folder_scorer)
