import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from scripts.results.figures import draw_study
from scripts.results.lesions import analyse
from scripts.results.metrics import summarise
from scripts.results.report import ReportedStudy, write_report
from scripts.results.scores import score_subject
from scripts.results.writing import write_result

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Elements, their text, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and data.split():
            self.text += " " + " ".join(data.split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def make_reported(make_study, make_prediction, model, tmp_path):
    def make(case, label, predicted, *, p_hcc=0.9, picture=False):
        # A study without a ground truth shows the lesions that are predicted in it.
        study = dataclasses.replace(make_study(predicted if label is None else label, case=case), label=label)
        prediction = make_prediction(predicted, p_hcc=p_hcc)
        result, mask = analyse(study, prediction, model=model)
        score = None if label is None else score_subject(study, mask, result, prediction)
        figure = None
        if picture:
            figure = draw_study(study, mask, result)
            figure = write_result(tmp_path, result, write_mask=lambda p: None, figure=figure) / "figure.png"
        return ReportedStudy(result=result, figure=figure, score=score)

    return make


@pytest.fixture
def write(tmp_path):
    def write_it(studies, **options) -> Page:
        write_report(tmp_path / "report.html", studies, **options)
        assert not list(tmp_path.glob(".report*"))
        page = Page((tmp_path / "report.html").read_text())
        assert page.open == []
        return page

    return write_it


@pytest.fixture
def cohort(make_reported, one_hcc, both_lesions, known):
    nothing = np.zeros(known.shape, dtype=np.uint8)
    return [
        make_reported("right", one_hcc, one_hcc, picture=True),
        make_reported("wrong", one_hcc, one_hcc, p_hcc=0.2),
        make_reported("missed", one_hcc, nothing),
        make_reported("healthy", nothing, nothing),
        make_reported("invented", nothing, one_hcc),
        make_reported("extra", None, both_lesions),
    ]


def test_an_empty_cohort_is_a_page(write):
    assert "Research use only. Not a medical device." in write([]).text


def test_nothing_is_loaded_from_elsewhere(write, cohort, tmp_path):
    page = write(cohort, metrics=summarise([s.score for s in cohort if s.score]))
    html = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", html))
    assert not page.all("script")
    assert not page.all("link")
    for image in page.all("img"):
        assert image["src"].startswith("data:image/jpeg;base64,")
    for link in page.all("a"):
        assert link["href"].startswith("#")
        assert link["href"][1:] in {attributes.get("id") for _, attributes in page.elements}


def test_it_is_accessible(write, cohort):
    page = write(cohort, metrics=summarise([s.score for s in cohort if s.score]))
    assert page.all("html")[0]["lang"] == "en"
    assert all(len(image["alt"]) > 20 for image in page.all("img"))
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("img")) == 2


def test_names_and_titles_are_escaped(write, make_reported, one_hcc, tmp_path):
    write([make_reported("<b>&x", None, one_hcc)], title="a <script> title", facts={"<i>": "<u>"})
    html = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;&amp;x" in html
    for tag in ("<b>&", "<script", "<i>", "<u>"):
        assert tag not in html


def test_holds_the_metrics_with_their_intervals(write, cohort):
    metrics = summarise([s.score for s in cohort if s.score], training_mean_curve=(-2.0, 0.0, 0.5, 0.0))
    page = write(cohort, metrics=metrics)
    for key, entry in metrics.items():
        assert key in page.text
        if entry["value"] is not None:
            assert f"{entry['value']:.3f}" in page.text
        if entry["ci95"]:
            assert "{:.3f} to {:.3f}".format(*entry["ci95"]) in page.text
    assert re.search(r"Convexity check .*: +passed", page.text)


def test_an_impossible_table_fails_the_convexity_check(write, cohort):
    metrics = summarise([s.score for s in cohort if s.score])
    metrics["iou_mean"] = metrics["iou_mean"] | {"value": 0.1}
    assert "failed." in write(cohort, metrics=metrics).text


def test_holds_the_confusion_matrix_of_network_and_rule(write, cohort):
    text = write(cohort).text
    # True HCC by answer hemangioma, HCC, missed.
    assert re.search(r"Network: true class by row.*?hemangioma +0 +0 +0 +HCC +1 +1 +1", text)
    assert re.search(r"Kinetic rule on the predicted mask: true.*?hemangioma +0 +0 +0 +HCC +0 +2 +1", text)


def test_flags_say_what_to_look_at(cohort):
    flags = {study.result.subject: study.flags for study in cohort}
    assert flags == {
        "right": [],
        "wrong": ["wrong class", "rule disagrees"],
        "missed": ["lesion missed"],
        "healthy": [],
        "invented": ["false positive", "rule disagrees", "head and mask disagree"],
        # The heads of these predictions speak of an HCC everywhere, also in the hemangioma.
        "extra": ["head and mask disagree"],
    }


def test_studies_without_a_ground_truth_stand_apart_and_say_so(write, cohort):
    text = write(cohort).text
    with_truth, without = text.split("Studies without a ground truth Number of studies: 1")
    assert "right" in with_truth
    assert re.search(r"extra HCC \(90 %\) no ground truth", without)
    assert re.search(r"right HCC \(90 %\) true class: HCC", with_truth)
    assert "Studies without a ground truth: 1. Nothing here says whether their results are right." in with_truth


def test_a_phantom_is_called_no_clinical_evidence(write, cohort):
    assert "no clinical evidence" in write(cohort, phantom=True).text
    assert "no clinical evidence" not in write(cohort, phantom=False).text


def test_notes_and_lesions_are_listed(write, make_reported, one_hcc):
    study = make_reported("case", None, one_hcc)
    study = dataclasses.replace(
        study, result=dataclasses.replace(study.result, notes=("The delayed phase is missing.",))
    )
    text = write([study]).text
    assert "The delayed phase is missing." in text
    assert f"{study.result.lesions[0].volume_ml:.1f}" in text
    assert "125.0" in text
