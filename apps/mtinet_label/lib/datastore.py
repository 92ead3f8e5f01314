"""The studies and their labels as MONAI Label's endpoints and clients know them."""

from __future__ import annotations

import copy
import io
import json
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from lib.client_entries import said_of_label, strategies_of_image
from lib.drawn_mask import read_mask
from lib.errors import BadRequestError, UnknownError
from lib.labels.label import Label
from lib.labels.sending import SegSender
from lib.labels.store import LabelStore
from lib.settings import Settings
from lib.studies.dicom_cache import acquired_file
from lib.studies.dicomweb import DicomwebSource
from lib.studies.folder import FolderSource
from lib.studies.sources import source_for
from lib.studies.study import OpenStudy, StudySource
from scripts.domain.phases import PHASES
from scripts.domain.writing import replace_when_written

FINAL, ORIGINAL = DefaultLabelTag.FINAL.value, DefaultLabelTag.ORIGINAL.value
LABELS_FOLDER, ARCHIVE_FILE = "labels", "archive/dataset.zip"
"""In the state folder."""

_ENDING = ".nii.gz"


class StudyDatastore(Datastore):
    """MONAI Label's datastore over a source of studies and a store of labels.

    An image is a study, and an identifier of any of its phases' series means it; a label's identifier is its study's.
    Only tag ``final`` holds labels. ``original`` is where clients keep a model's output: it can be read back and never
    counts as a label.

    Args:
        source: of the studies.
        labels: of the readers.
        archive: file that ``get_dataset_archive`` writes; None refuses it.
    """

    def __init__(self, source: StudySource, labels: LabelStore, *, archive: Path | None = None) -> None:
        self.source = source
        self.labels = labels
        self.sender: SegSender | None = None
        self._archive = archive
        self._archiving = threading.Lock()
        self._name = "MTI-Net studies"
        self._description = "Four-phase liver MRI: one case a study"
        self._said: dict[str, dict[str, Any]] = {}
        if isinstance(source, DicomwebSource):
            source.let_stay(labels.labelled)
            self.sender = SegSender(labels, source)
            self.sender.start()

    def save(
        self, study: OpenStudy, *, mask: np.ndarray | None, diagnosis: str | None, reader: str, note: str = ""
    ) -> Label:
        """Save a new version of a study's label, as ``LabelStore.save``; of a DICOM study it goes to the PACS too."""
        return self.labels.save(study.case_id, mask=mask, study=study, diagnosis=diagnosis, reader=reader, note=note)

    def name(self) -> str:
        """For people."""
        return self._name

    def set_name(self, name: str) -> None:
        """Until the server stops."""
        self._name = name

    def description(self) -> str:
        """For people."""
        return self._description

    def set_description(self, description: str) -> None:
        """Until the server stops."""
        self._description = description

    def datalist(self) -> list[dict[str, Any]]:
        """What there is to train on: studies with a mask.

        Returns:
            For each: ``case``, ``image`` (its reference phase), ``images`` (by phase), ``label``, ``diagnosis``.
        """
        return [self._item(label) for label in self._labels_with_mask()]

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """The study's identifier by tag."""
        case_id = self._case(image_id)
        label = self.labels.latest(case_id)
        found = {FINAL: case_id} if label is not None and label.mask_file is not None else {}
        return found | ({ORIGINAL: case_id} if self.labels.original(case_id) else {})

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The study's identifier, empty where it has no label of that tag."""
        return self.get_labels_by_image_id(image_id).get(_tag(tag), "")

    def get_image(self, image_id: str, params: Any = None) -> io.BytesIO:
        """The reference phase, packed NIfTI."""
        return io.BytesIO(Path(self.get_image_uri(image_id)).read_bytes())

    def get_image_uri(self, image_id: str) -> str:
        """File of the phase that a series shows, of the reference phase for a study; fetched if need be.

        A phase that was registered comes as it was acquired: a mask that is drawn on it is taken for one of its series,
        and answers about that series lie on it.

        Raises:
            UnknownError: no such study, or the series shows none of its phases.
        """
        address = self.source.resolve(image_id)
        study = self.source.open(address.case_id)
        study.grid(address.series)
        if study.displacement(address.series) is not None:
            return str(acquired_file(study, address.series))
        files = dict(zip(PHASES, study.case.phase_files, strict=True))
        return str(files[study.phase_of[address.series or study.reference]])

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> io.BytesIO | None:
        """The mask, packed NIfTI; None where there is none."""
        file = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(file).read_bytes()) if file else None

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """File of the latest mask on the reference phase's grid; empty where there is none."""
        case_id = self._case(label_id)
        if _tag(label_tag) == ORIGINAL:
            return str(self.labels.original(case_id) or "")
        label = self.labels.latest(case_id)
        return "" if label is None or label.mask_file is None else str(label.mask_file)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What viewers need to open a study, and when which strategy offered it; nothing is fetched for it."""
        return self._image_info(self._case(image_id))

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What the reader said: classes, diagnosis, who and when; of the original only that it is one."""
        case_id = self._case(label_id)
        if _tag(label_tag) == ORIGINAL:
            return {"tag": ORIGINAL} if self.labels.original(case_id) else {}
        label = self.labels.latest(case_id)
        return {} if label is None else self._label_info(label)

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """The studies that a reader has drawn on, in the order of the list."""
        labelled = self._labelled(label_tag)
        return [case_id for case_id in self.list_images() if case_id in labelled]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """The others."""
        labelled = self._labelled(label_tag)
        return [case_id for case_id in self.list_images() if case_id not in labelled]

    def list_images(self) -> list[str]:
        """Every study."""
        return [study.case_id for study in self.source.listing()]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Write the labelled studies into one ZIP file: phases, mask, what was said.

        Args:
            limit_cases: at most so many; None is all.

        Raises:
            UnknownError: nothing is labelled.
        """
        if self._archive is None or not (found := self._labels_with_mask()):
            msg = "there is no labelled study to put into an archive"
            raise UnknownError(msg)
        if limit_cases is not None and limit_cases > 0:
            found = found[:limit_cases]
        # One at a time: all write to the same name aside.
        with self._archiving, replace_when_written(self._archive) as aside, zipfile.ZipFile(aside, "w") as archive:
            for label in found:
                study = self.source.open(label.case_id)
                for file in study.case.image_files:
                    archive.write(file, f"image/{file.name}")
                archive.write(label.mask_file, f"label/{label.case_id}.nii.gz")
                archive.writestr(f"label/{label.case_id}.json", json.dumps(self._label_info(label), indent=1))
        return str(self._archive)

    def refresh(self) -> None:
        """Look for new studies now."""
        self.source.refresh()

    def add_image(self, image_id: str, image_filename: str, image_info: Mapping[str, Any]) -> str:
        """Refused: a study is four phases, and comes from the folder or the PACS.

        Raises:
            BadRequestError: always.
        """
        msg = "studies are not uploaded here: put their four phases into the studies folder, or send them to the PACS"
        raise BadRequestError(msg)

    def remove_image(self, image_id: str) -> None:
        """Refused.

        Raises:
            BadRequestError: always.
        """
        msg = "studies are not removed here: take them out of the studies folder, or of the PACS"
        raise BadRequestError(msg)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: Mapping[str, Any]) -> str:
        """Save a mask from a file, as MONAI Label's clients send it.

        Args:
            image_id: of the study, or of the series that the mask was drawn on.
            label_filename: NIfTI or NRRD on this machine, on any grid in the scanner coordinates of that series; of a
                study, in those of the reference phase.
            label_tag: ``final`` is a label; ``original`` is kept and never counts.
            label_info: may hold ``diagnosis``, ``reader``, ``note``, ``classes`` (class by voxel value) and
                ``label_info`` (Slicer's list of segments).

        Returns:
            The label's identifier, which is the study's.

        Raises:
            UnknownError: no such study.
            BadRequestError: another tag, no usable mask, or a contradiction; see ``LabelStore.save``.
        """
        tag, info = _tag(label_tag), label_info or {}
        address = self.source.resolve(image_id)
        study = self.source.open(address.case_id)
        content = Path(label_filename).read_bytes()
        mask = read_mask(content, study, address.series, classes=info.get("classes"), names=info.get("label_info"))
        if tag == ORIGINAL:
            self.labels.keep_original(study.case_id, mask, study)
        else:
            self.save(study, mask=mask, **said_of_label(info))
        return study.case_id

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label away; its versions are kept aside.

        Raises:
            UnknownError: there is none.
            BadRequestError: it belongs to the dataset.
        """
        case_id = self._case(label_id)
        if _tag(label_tag) == ORIGINAL:
            self.labels.remove_original(case_id)
        else:
            self.labels.remove(case_id)

    def update_image_info(self, image_id: str, info: Mapping[str, Any]) -> None:
        """Remember when a strategy offered a study to whom, until the server stops.

        Raises:
            BadRequestError: anything else; what viewers are told about a study comes from its files.
        """
        case_id = self._case(image_id)
        self._said[case_id] = {"strategy": strategies_of_image(info)}

    def update_label_info(self, label_id: str, label_tag: str, info: Mapping[str, Any]) -> None:
        """Set the diagnosis of a study: a new version of its label.

        Args:
            label_id: the study.
            label_tag: ``final``.
            info: ``diagnosis`` and maybe ``reader`` and ``note``.

        Raises:
            BadRequestError: another tag, no diagnosis, or one that contradicts the mask.
        """
        if _tag(label_tag) == ORIGINAL:
            msg = "the original is no label: nothing can be said about it"
            raise BadRequestError(msg)
        self.save(self.source.open(self._case(label_id)), mask=None, **said_of_label(info))

    def status(self) -> dict[str, Any]:
        """How many studies there are, and how many are done."""
        images = self.list_images()
        done = len(set(images) & set(self.labels.labelled()))
        return {"total": len(images), "completed": done, "label_tags": {FINAL: done}, "train": []}

    def json(self) -> dict[str, Any]:
        """Everything that is known without opening a study, in the form of MONAI Label's own datastore."""
        given, objects = self.labels.given(), {}
        for case_id in self.list_images():
            image = {"ext": _ENDING, "info": self._image_info(case_id)}
            said = {}
            if (label := self.labels.saved(case_id)) is not None:
                # A diagnosis alone has no file that a client could ask for.
                said = {FINAL: self._label_info(label)} if label.mask_file is not None else {}
            elif case_id in given:
                said = {FINAL: {"version": 0}}
            if self.labels.original(case_id) is not None:
                said[ORIGINAL] = {"tag": ORIGINAL}
            labels = {tag: {"ext": _ENDING, "info": info} for tag, info in said.items()}
            objects[case_id] = {"image": image, "labels": labels}
        return {"name": self._name, "description": self._description, "objects": objects}

    def _case(self, image_id: str) -> str:
        return self.source.resolve(image_id).case_id

    def _labelled(self, label_tag: str | None) -> set[str]:
        return set(self.labels.labelled()) if not label_tag or _tag(label_tag) == FINAL else set()

    def _labels_with_mask(self) -> list[Label]:
        found = (self.labels.latest(case_id) for case_id in self.get_labeled_images())
        return [label for label in found if label is not None and label.mask_file is not None]

    def _item(self, label: Label) -> dict[str, Any]:
        study = self.source.open(label.case_id)
        files = dict(zip(PHASES, study.case.phase_files, strict=True))
        return {
            "case": label.case_id,
            "image": str(files[study.phase_of[study.reference]]),
            "images": {phase: str(file) for phase, file in files.items() if file is not None},
            "label": str(label.mask_file),
            "diagnosis": label.diagnosis,
        }

    def _image_info(self, case_id: str) -> dict[str, Any]:
        info: dict[str, Any] = {"name": case_id}
        if isinstance(self.source, DicomwebSource):
            info |= {"StudyInstanceUID": case_id}
            if (reference := self.source.reference(case_id)) is not None:
                info |= {"SeriesInstanceUID": reference, "Modality": "MR"}
        # A copy: MONAI Label's endpoint writes into what it gets.
        return info | copy.deepcopy(self._said.get(case_id, {}))

    def _label_info(self, label: Label) -> dict[str, Any]:
        info = {
            "version": label.version,
            "diagnosis": label.diagnosis,
            "lesions": [{"id": x.id, "class": x.tumour_class, "volume_ml": x.volume_ml} for x in label.lesions],
            "reader": label.reader,
            "saved_at": label.saved_at,
            "note": label.note,
        }
        if self.sender is not None and label.lesions:
            info["dicom_seg"] = "sent" if self.labels.is_sent(label) else "not sent yet"
        return info


def datastore_for(studies: str, settings: Settings) -> StudyDatastore:
    """The datastore of ``--studies``.

    Args:
        studies: a folder, or the address of a DICOMweb server.
        settings: the app's.

    Raises:
        ConfigurationError: no such folder.
        DatasetError: its ``subjects.csv`` breaks its contract.
    """
    source = source_for(studies, settings)
    with_labels = isinstance(source, FolderSource) and settings.count_dataset_labels
    labels = LabelStore(settings.state_dir / LABELS_FOLDER, dataset=source.cases if with_labels else None)
    return StudyDatastore(source, labels, archive=settings.state_dir / ARCHIVE_FILE)


def _tag(tag: str) -> str:
    """A tag that there is; MONAI Label writes it as a word or as an enum."""
    text = tag.value if isinstance(tag, DefaultLabelTag) else tag
    if text not in (FINAL, ORIGINAL):
        msg = f"a label's tag is {FINAL} or {ORIGINAL}"
        raise BadRequestError(msg)
    return text
