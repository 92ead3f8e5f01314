import json

import pytest

from scripts.domain.result import SCHEMA_PATH, Enhancement, Lesion, Result

NAN = float("nan")


@pytest.fixture
def result():
    enhancement = Enhancement(
        regressed=(1.0, NAN, 3.0, 4.0),
        from_mask=(1.0, None, 3.0, 4.0),
        ring=(1.0, None, 3.0, 4.0),
        relative=(0.0, None, 2.0, 3.0),
        disagreement=float("inf"),
        psr_portal_venous=100.0,
        psr_delayed=100.0,
        arterial_hyperenhancement=None,
        washout=False,
        shared_slices=False,
    )
    lesion = Lesion(
        id=1,
        volume_ml=2.5,
        max_diameter_mm=17.0,
        centroid_mm=(1.0, -2.0, 3.0),
        predicted_class="hcc",
        probabilities={"hemangioma": 0.25, "hcc": 0.75},
        enhancement=enhancement,
        rule_class=None,
    )
    return Result(
        subject="a",
        phases=({"name": "pre", "time_s": 0.0, "available": True},),
        normalisation={"offset": 1.0, "scale": 2.0},
        lesions=(lesion,),
        predicted_class="hcc",
        probabilities={"hemangioma": 0.25, "hcc": 0.75},
        notes=("a reason",),
        model={"version": "0.1.0", "weights_sha256": "0" * 64},
    )


def test_json_says_class_on_every_level(result):
    document = result.to_dict()
    assert document["class"] == document["lesions"][0]["class"] == "hcc"
    assert "predicted_class" not in json.dumps(document)


def test_what_is_not_a_number_is_null(result, tmp_path):
    result.write_json(tmp_path / "result.json")
    enhancement = json.loads((tmp_path / "result.json").read_text())["lesions"][0]["enhancement"]
    assert enhancement["regressed"] == [1.0, None, 3.0, 4.0]
    assert enhancement["disagreement"] is None
    assert enhancement["washout"] is False


def test_the_file_holds_what_the_dictionary_holds(result, tmp_path):
    result.write_json(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == result.to_dict()


def test_the_schema_lies_beside_the_code():
    assert json.loads(SCHEMA_PATH.read_text())["$schema"].endswith("2020-12/schema")
