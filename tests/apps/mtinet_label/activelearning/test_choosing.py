import tracemalloc

import numpy as np

from lib.activelearning.selection import farthest_first, highest


def test_the_highest_come_first_and_ties_by_name():
    assert highest({"b": 1.0, "a": 1.0, "c": 3.0, "d": 0.0}, 3) == ["c", "a", "b"]


def test_nothing_is_chosen_from_nothing():
    assert farthest_first({}, [np.zeros(2)], 3) == []


def test_the_farthest_from_what_is_labelled_comes_first():
    candidates = {"near": np.array([0.1, 0.0]), "far": np.array([0.9, 1.0]), "middle": np.array([0.5, 0.5])}
    assert [name for name, _ in farthest_first(candidates, [np.zeros(2)], 1)] == ["far"]


def test_of_two_alike_only_one_is_taken():
    candidates = {"far": np.array([1.0, 1.0]), "twin": np.array([1.0, 0.99]), "aside": np.array([0.0, 1.0])}
    assert {name for name, _ in farthest_first(candidates, [np.zeros(2)], 2)} == {"aside", "far"}


def test_a_feature_counts_by_its_spread_and_not_by_its_unit():
    candidates = {"wide": np.array([100.0, 0.0]), "both": np.array([60.0, 1.0])}
    known = [np.array([0.0, 0.0]), np.array([20.0, 0.0])]
    assert farthest_first(candidates, known, 1)[0][0] == "both"


def test_without_labelled_studies_the_one_least_like_the_mean_comes_first():
    candidates = {name: np.array([x]) for name, x in (("a", 0.0), ("b", 0.1), ("c", 1.0))}
    assert farthest_first(candidates, [], 1)[0][0] == "c"


def test_thousands_of_studies_fit_into_the_memory():
    features = np.random.default_rng(5).random((3000, 64))
    candidates = {f"{number:04}": row for number, row in enumerate(features[:1500])}
    tracemalloc.start()
    assert farthest_first(candidates, list(features[1500:]), 1)
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


def test_no_more_are_taken_than_there_are():
    taken = farthest_first({"a": np.zeros(2), "b": np.ones(2)}, [], 5)
    assert sorted(name for name, _ in taken) == ["a", "b"]
