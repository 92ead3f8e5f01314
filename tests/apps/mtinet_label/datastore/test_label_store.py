"""Labels on disk: every version is kept, a crash loses none, and nothing that is damaged counts."""

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.errors import AppError, BadRequestError, UnknownError
from lib.labels.store import LabelStore
from lib.studies.folder import FolderSource
from scripts.studies.case import Case

BAD_NAMES = ["", ".", "..", "../liver-01", "a/b", "a\\b", "/etc", "a\x00", ".hidden", "ä", "a" * 129, "liver-01\n"]


@pytest.fixture
def store(tmp_path) -> LabelStore:
    """An empty one."""
    return LabelStore(tmp_path / "labels")


@pytest.fixture
def save(store, folder_study, draw):
    """Save a label of ``liver-01``: ``save(mask=…, diagnosis=…)``; the drawn mask by default."""

    def make(**given):
        said = {"mask": draw(folder_study), "study": folder_study, "diagnosis": None, "reader": "ann"} | given
        return store.save("liver-01", **said)

    return make


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_no_study_has(store, folder_study, name):
    study = replace(folder_study, case_id=name)
    for ask in (
        store.latest,
        store.versions,
        store.remove,
        store.original,
        lambda name: store.save(name, mask=None, study=study, diagnosis="hcc", reader=""),
        lambda name: store.keep_original(name, np.zeros((96, 80, 20), np.uint8), study),
    ):
        with pytest.raises(UnknownError):
            ask(name)
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mask": None}, "nothing to save"),
        ({"diagnosis": "cyst"}, "diagnosis is none of"),
        ({"reader": "../../x"}, "reader's name"),
        ({"reader": "a\nb"}, "reader's name"),
        ({"reader": "a" * 65}, "reader's name"),
        ({"note": "two\nlines"}, "one line"),
        ({"note": "x" * 501}, "one line"),
        (
            {"mask": np.zeros((96, 80, 19), np.uint8)},
            "96 x 80 x 19 voxels and the study's .* 96 x 80 x 20",
        ),
        ({"mask": np.full((96, 80, 20), 3, np.uint8)}, "no class"),
        ({"mask": np.full((96, 80, 20), -1, np.int16)}, "no class"),
        ({"mask": np.full((96, 80, 20), 0.5)}, "no class"),
        ({"diagnosis": "none"}, "holds 2 lesion"),
    ],
)
def test_what_cannot_be_saved_leaves_nothing(store, save, given, message):
    with pytest.raises(BadRequestError, match=message):
        save(**given)
    assert store.latest("liver-01") is None
    assert not list(store.folder.rglob("*.json"))


def test_the_study_must_be_the_case(store, folder_study):
    with pytest.raises(BadRequestError, match="another"):
        store.save("liver-02", mask=None, study=folder_study, diagnosis="hcc", reader="")


def test_a_label_comes_back_as_it_was_said(store, save, folder_study, draw):
    saved = save(diagnosis="hcc", reader="Jürgen.H @ward-3", note="first seen by the model")
    assert (saved.version, saved.diagnosis, saved.reader) == (1, "hcc", "Jürgen.H @ward-3")
    again = LabelStore(store.folder).latest("liver-01")
    assert again == saved
    np.testing.assert_array_equal(np.asarray(nib.load(again.mask_file).dataobj), draw(folder_study))
    np.testing.assert_allclose(nib.load(again.mask_file).affine, folder_study.grid(None).affine, atol=1e-4)


def test_lesions_by_volume_with_their_classes(save, folder_study, draw):
    mask = draw(folder_study)
    # A few voxels of the other class within a lesion do not change what it is.
    mask[8, 12, 3:5] = 1
    first, second = save(mask=mask).lesions
    assert [(first.id, first.tumour_class), (second.id, second.tumour_class)] == [(1, "hcc"), (2, "hemangioma")]
    voxel_ml = 3.0 * 2.5 * 6.0 / 1000.0
    assert (first.volume_ml, second.volume_ml) == pytest.approx((180 * voxel_ml, 24 * voxel_ml), rel=1e-5)


def test_what_is_not_said_is_kept(store, save, folder_study, draw):
    save(diagnosis="hcc")
    second = save(mask=None, diagnosis="hemangioma", reader="ben")
    assert (second.version, second.diagnosis, second.reader) == (2, "hemangioma", "ben")
    assert [x.tumour_class for x in second.lesions] == ["hcc", "hemangioma"]
    np.testing.assert_array_equal(np.asarray(nib.load(second.mask_file).dataobj), draw(folder_study))
    third = save(mask=np.zeros((96, 80, 20), np.uint8), diagnosis="")
    assert (third.diagnosis, third.lesions) == ("hemangioma", ())
    assert [label.version for label in store.versions("liver-01")] == [1, 2, 3]


def test_a_diagnosis_alone_is_not_labelled(store, save):
    label = save(mask=None, diagnosis="hcc")
    assert label.mask_file is None
    assert store.labelled() == []
    save()
    assert store.labelled() == ["liver-01"]


def test_no_lesion_is_an_empty_mask(store, save):
    label = save(mask=None, diagnosis="none")
    assert not np.asarray(nib.load(label.mask_file).dataobj).any()
    assert store.labelled() == ["liver-01"]
    # Lesions drawn later take the word back, and then it cannot be said any more.
    assert save().diagnosis == ""
    with pytest.raises(BadRequestError, match="erase them"):
        save(mask=None, diagnosis="none")


@pytest.mark.parametrize("damage", ["mask", "no mask", "json", "other case", "half json"])
def test_a_damaged_version_does_not_count(store, save, damage, caplog):
    save(diagnosis="hcc")
    second = save(mask=None, diagnosis="hemangioma")
    label_file = second.mask_file.with_name("label.json")
    if damage == "mask":
        second.mask_file.write_bytes(second.mask_file.read_bytes()[:-20])
    elif damage == "no mask":
        second.mask_file.unlink()
    elif damage == "json":
        label_file.write_text("{}")
    elif damage == "half json":
        label_file.write_text(label_file.read_text()[:100])
    else:
        label_file.write_text(label_file.read_text().replace("liver-01", "liver-02"))
    again = LabelStore(store.folder)
    assert again.latest("liver-01").version == 1
    assert again.latest("liver-01").diagnosis == "hcc"
    assert [label.version for label in again.versions("liver-01")] == [1]
    assert "v0002" in caplog.text
    assert str(store.folder) not in caplog.text


def test_a_new_version_never_takes_a_damaged_ones_place(store, save, folder_study):
    save()
    second = save(mask=None, diagnosis="hcc")
    second.mask_file.unlink()
    again = LabelStore(store.folder)
    assert again.latest("liver-01").version == 1
    third = again.save("liver-01", mask=None, study=folder_study, diagnosis="hemangioma", reader="")
    assert (third.version, third.lesions) == (3, again.versions("liver-01")[0].lesions)


def test_removed_labels_are_kept_aside(store, save):
    save(diagnosis="hcc")
    save(mask=None, diagnosis="hemangioma")
    store.remove("liver-01")
    assert store.latest("liver-01") is None
    assert store.labelled() == []
    kept = sorted(path.parent.name for path in (store.folder / ".removed").rglob("label.json"))
    assert kept == ["v0001", "v0002"]
    with pytest.raises(UnknownError, match="no label"):
        store.remove("liver-01")
    assert save(diagnosis="hcc").version == 1
    store.remove("liver-01")


def test_two_stores_never_overwrite_each_other(store, save, folder_study, draw):
    other = LabelStore(store.folder)
    barrier, versions = threading.Barrier(2), []

    def save_five(own: LabelStore) -> None:
        barrier.wait()
        for _ in range(5):
            label = own.save("liver-01", mask=draw(folder_study), study=folder_study, diagnosis=None, reader="")
            versions.append(label.version)

    threads = [threading.Thread(target=save_five, args=(own,)) for own in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(versions) == list(range(1, 11))
    assert len(store.versions("liver-01")) == 10


def test_the_originals_are_no_labels(store, folder_study, draw):
    store.keep_original("liver-01", draw(folder_study), folder_study)
    assert store.original("liver-01").is_file()
    assert store.latest("liver-01") is None
    assert store.labelled() == []
    store.remove_original("liver-01")
    assert store.original("liver-01") is None
    with pytest.raises(BadRequestError):
        store.keep_original("liver-01", np.full((96, 80, 20), 9), folder_study)


def test_who_listens_is_told_and_cannot_spoil_a_save(store, save):
    told = []

    def fail(label) -> None:
        told.append(label.version)
        raise RuntimeError("deaf")

    store.when_saved(fail)
    store.when_saved(lambda label: told.append(label.diagnosis))
    assert save(diagnosis="hcc").version == 1
    assert told == [1, "hcc"]


def test_a_full_disk_changes_nothing(store, save, monkeypatch):
    save(diagnosis="hcc")

    def full(*_) -> None:
        raise OSError(28, "No space left on device", "/secret/place")

    monkeypatch.setattr("lib.labels.store.write_nifti", full)
    with pytest.raises(AppError, match="No space left on device") as refused:
        save()
    assert "secret" not in str(refused.value)
    assert [label.version for label in store.versions("liver-01")] == [1]
    assert [path.name for path in (store.folder / "liver-01").iterdir()] == ["v0001"]


def test_what_the_pacs_has(store, save):
    first = save()
    save(mask=None, diagnosis="hcc")
    (latest,) = store.unsent()
    assert latest.version == 2
    store.mark_sent(latest, sop_instance_uid="1.2.3")
    assert store.unsent() == []
    assert LabelStore(store.folder).unsent() == []
    assert not store.is_sent(first)
    save(mask=np.zeros((96, 80, 20), np.uint8))
    assert store.unsent() == []


def test_labels_of_the_dataset(dataset_dir, tmp_path):
    source = FolderSource(dataset_dir)
    store = LabelStore(tmp_path / "labels", dataset=source.cases)
    everything = ["liver-01", "liver-02", "liver-03", "liver-04", "liver-05"]
    assert store.labelled() == everything
    label = store.latest("liver-05")
    assert (label.version, label.reader, label.diagnosis) == (0, "dataset", "hemangioma")
    assert [x.tumour_class for x in label.lesions] == ["hemangioma"]
    assert store.latest("liver-04").lesions == ()
    assert store.unsent() == []
    with pytest.raises(BadRequestError, match="came with the dataset"):
        store.remove("liver-05")
    corrected = store.save("liver-05", mask=None, study=source.open("liver-05"), diagnosis="hcc", reader="ann")
    assert (corrected.version, corrected.diagnosis, corrected.lesions) == (1, "hcc", label.lesions)
    assert corrected.mask_file != label.mask_file
    assert [x.version for x in store.versions("liver-05")] == [0, 1]
    store.remove("liver-05")
    assert store.latest("liver-05") == label
    assert LabelStore(tmp_path / "others").labelled() == []


@pytest.mark.parametrize("damage", [b"nothing", "value", "fraction"])
def test_a_mask_of_the_dataset_that_is_none(dataset_dir, tmp_path, damage, caplog):
    file = dataset_dir / "labelsTr" / "liver-01.nii.gz"
    if isinstance(damage, bytes):
        file.write_bytes(damage)
    else:
        values = np.full((96, 80, 20), 7 if damage == "value" else 0.5, np.float32)
        nib.save(nib.Nifti1Image(values, np.eye(4)), file)
    store = LabelStore(tmp_path / "labels", dataset=lambda: {"liver-01": Case(case="liver-01", label_file=file)})
    assert store.latest("liver-01") is None
    assert "does not count" in caplog.text
    assert str(dataset_dir) not in caplog.text


SAVE = """
import sys
import numpy as np
from pathlib import Path
for folder in sys.argv[1:3]:
    sys.path.insert(0, folder)
from lib.labels.store import LabelStore
from lib.studies.folder import FolderSource
study = FolderSource(Path(sys.argv[3])).open("liver-01")
store = LabelStore(Path(sys.argv[4]))
rng = np.random.default_rng(3)
while True:
    mask = (rng.random((96, 80, 20)) < 0.3).astype(np.uint8)
    label = store.save("liver-01", mask=mask, study=study, diagnosis="hemangioma", reader="ann")
    print(label.version, flush=True)
"""


def test_kills_in_the_middle_of_saving_lose_nothing(dataset_dir, folder_study, draw, tmp_path):
    root = Path(__file__).resolve().parents[4]
    folders = [root / "bundle", root / "apps" / "mtinet_label", dataset_dir, tmp_path / "labels"]
    answered = 0
    for round_ in range(3):
        process = subprocess.Popen([sys.executable, "-c", SAVE, *map(str, folders)], stdout=subprocess.PIPE)
        for _ in range(2):
            answered = int(process.stdout.readline())
        # Wherever it is by now: masks take most of the time, so mostly in the middle of one.
        time.sleep(0.013 * round_)
        process.send_signal(signal.SIGKILL)
        answered = max([answered, *(int(line) for line in process.stdout.read().split())])
        process.wait()
        store = LabelStore(tmp_path / "labels")
        versions = [label.version for label in store.versions("liver-01")]
        # Nothing that a client was told is lost; one more may have got its name before its answer.
        assert versions == list(range(1, len(versions) + 1))
        assert len(versions) in (answered, answered + 1)
        assert all(np.asarray(nib.load(label.mask_file).dataobj).any() for label in store.versions("liver-01"))
        assert not [path for path in (tmp_path / "labels" / "liver-01").iterdir() if not path.name.startswith("v")]
    label = store.save("liver-01", mask=draw(folder_study), study=folder_study, diagnosis="hcc", reader="ann")
    assert store.latest("liver-01") == label


def test_what_is_written(store, save):
    content = json.loads(save(diagnosis="hcc", note="seen").mask_file.with_name("label.json").read_text())
    assert {key: content[key] for key in ("format", "case", "version", "diagnosis", "reader", "note")} == {
        "format": 1,
        "case": "liver-01",
        "version": 1,
        "diagnosis": "hcc",
        "reader": "ann",
        "note": "seen",
    }
    assert content["saved_at"].endswith("+00:00")


def test_what_another_server_saves_meanwhile_is_kept(tmp_path, folder_study, draw, monkeypatch):
    ours, theirs = LabelStore(tmp_path / "labels"), LabelStore(tmp_path / "labels")
    latest = ours.latest

    def overtaken(case_id):
        before = latest(case_id)
        if theirs.latest(case_id) is None:
            theirs.save(case_id, mask=draw(folder_study), study=folder_study, diagnosis=None, reader="ben")
        return before

    monkeypatch.setattr(ours, "latest", overtaken)
    saved = ours.save("liver-01", mask=None, study=folder_study, diagnosis="hcc", reader="ann")
    assert (saved.version, saved.diagnosis, len(saved.lesions)) == (2, "hcc", 2)
    assert saved.mask_file.is_file()


def test_a_file_where_the_labels_should_be(store, folder_study, draw):
    (store.folder / "liver-01").write_text("not a folder")
    with pytest.raises(AppError, match="cannot be written"):
        store.save("liver-01", mask=draw(folder_study), study=folder_study, diagnosis=None, reader="ann")
