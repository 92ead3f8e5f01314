"""Results that the analysis really makes, against the published schema."""

import copy
import dataclasses
import json

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from scripts.domain.result import SCHEMA_PATH
from scripts.results.lesions import analyse

VALIDATOR = Draft202012Validator(json.loads(SCHEMA_PATH.read_text()))


def written(result, folder) -> dict:
    result.write_json(folder / "result.json")
    return json.loads((folder / "result.json").read_text())


@pytest.fixture
def document(make_study, make_prediction, both_lesions, model, tmp_path):
    return written(analyse(make_study(both_lesions), make_prediction(both_lesions), model=model)[0], tmp_path)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("subject",), ""),
        (("class",), "cyst"),
        (("class",), None),
        (("probabilities",), {"hemangioma": 1.0}),
        (("probabilities", "hcc"), 1.5),
        (("phases",), []),
        (("phases", 0, "name"), "arterial"),
        (("phases", 1, "time_s"), "30 s"),
        (("normalisation", "scale"), 0),
        (("lesions", 0, "id"), 0),
        (("lesions", 0, "volume_ml"), -1.0),
        (("lesions", 0, "centroid_mm"), [1.0, 2.0]),
        (("lesions", 0, "class"), "none"),
        (("lesions", 0, "rule_class"), "unknown"),
        (("lesions", 0, "enhancement", "regressed"), [1.0, 2.0, 3.0]),
        (("lesions", 0, "enhancement", "washout"), "yes"),
        (("lesions", 0, "enhancement", "shared_slices"), None),
        (("model", "weights_sha256"), "abc"),
        (("notes",), [""]),
    ],
)
def test_rejects_what_is_wrong(document, path, wrong):
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize("path", [(), ("lesions", 0), ("lesions", 0, "enhancement"), ("phases", 0), ("model",)])
def test_rejects_anything_more_or_less(document, path):
    for change in ("more", "less"):
        changed = place = copy.deepcopy(document)
        for step in path:
            place = place[step]
        if change == "more":
            place["remark"] = "looks fine"
        else:
            place.pop(next(iter(place)))
        assert not VALIDATOR.is_valid(changed), change


def test_the_schema_itself_is_valid():
    Draft202012Validator.check_schema(VALIDATOR.schema)


def test_accepts_a_result(document):
    VALIDATOR.validate(document)
    assert [lesion["class"] for lesion in document["lesions"]] == ["hcc", "hcc"]


def test_accepts_an_empty_result(make_study, make_prediction, known, model, tmp_path):
    result, _ = analyse(make_study(), make_prediction(np.zeros(known.shape)), model=model)
    document = written(result, tmp_path)
    VALIDATOR.validate(document)
    assert (document["lesions"], document["class"]) == ([], "none")


@pytest.mark.parametrize("lost", range(4))
def test_accepts_a_result_without_a_phase(make_study, make_prediction, one_hcc, model, tmp_path, lost):
    study = make_study(one_hcc, available=tuple(phase != lost for phase in range(4)))
    document = written(analyse(study, make_prediction(one_hcc), model=model)[0], tmp_path)
    VALIDATOR.validate(document)
    assert document["lesions"][0]["enhancement"]["from_mask"][lost] is None
    assert document["phases"][lost]["available"] is False


def test_accepts_a_result_without_heads_and_ring(make_study, make_prediction, one_hcc, model, known, tmp_path):
    prediction = dataclasses.replace(make_prediction(one_hcc), regression=None, classification=None)
    study = make_study(one_hcc, liver=known.hcc_mask)
    document = written(analyse(study, prediction, model=model)[0], tmp_path)
    VALIDATOR.validate(document)
    assert (document["class"], document["lesions"][0]["rule_class"]) == ("unknown", None)
