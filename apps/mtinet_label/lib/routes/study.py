"""``/mtinet/studies``: studies as cases, with what the network and the readers say about them; ``/mtinet/queue``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from fastapi import APIRouter, Body, Depends, File, Form, Query, UploadFile
from fastapi.responses import HTMLResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User

from lib.analysis import Analyser
from lib.answers import facts
from lib.datastore import StudyDatastore
from lib.drawn_mask import class_names, read_mask
from lib.errors import BadRequestError, UnknownError
from lib.grids import on_grid
from lib.labels.label import DIAGNOSES, Label
from lib.nrrd_file import nrrd
from lib.page import result_page
from lib.region import region_curves
from lib.routes.answered import AnsweredRoute
from lib.routes.monailabel import reader_of
from lib.security.names import image_id, plain_text
from lib.studies.study import OpenStudy
from scripts.studies.displacement import Displacement

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))

_MOST_AT_ONCE = 500
_READER_LENGTH = 64
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

Series = Annotated[str, Form()]


class StudyApp(Protocol):
    """What the routes need of the app."""

    analyser: Analyser

    def datastore(self) -> StudyDatastore:
        """The studies and their labels."""


def router(app: StudyApp) -> APIRouter:
    """The routes.

    Every ``{case}`` may be the identifier of a study or of one of its series; the mask of an answer or a request is on
    the grid of the series that is named.

    Args:
        app: answers them.
    """
    routes = APIRouter(prefix="/mtinet", tags=["MTI-Net"], route_class=AnsweredRoute)

    def opened(identifier: str, series: str = "") -> tuple[OpenStudy, str | None]:
        source = app.datastore().source
        address = source.resolve(image_id(identifier, what="study"))
        study = source.open(address.case_id)
        if not series:
            return study, address.series
        if image_id(series, what="series") not in study.series:
            msg = "the study has no such series, or it shows none of the four phases"
            raise UnknownError(msg)
        return study, series

    def case_of(identifier: str) -> str:
        return app.datastore().source.resolve(image_id(identifier, what="study")).case_id

    @routes.get("/studies")
    def studies(
        user: Annotated[User, _USER],
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=_MOST_AT_ONCE)] = 50,
        state: Literal["labelled", "unlabelled"] | None = None,
    ) -> dict[str, Any]:
        """A page of the list of studies; none is opened for it."""
        store = app.datastore()
        labelled = set(store.labels.labelled())
        listed = [
            study
            for study in store.source.listing()
            if state is None or (study.case_id in labelled) == (state == "labelled")
        ]
        page = [
            {
                "id": study.case_id,
                "state": "labelled" if study.case_id in labelled else "unlabelled",
                "info": dict(study.info),
            }
            for study in listed[offset : offset + limit]
        ]
        return {"total": len(listed), "offset": offset, "studies": page}

    @routes.get("/studies/{case}")
    def study(case: str, user: Annotated[User, _USER]) -> dict[str, Any]:
        """The series of a study that show its phases, and its label."""
        study, series = opened(case)
        return {
            "id": study.case_id,
            "asked_series": series,
            "reference": study.reference,
            "series": [
                {"id": name, "phase": study.phase_of[name], "shape": list(grid.shape), "affine": grid.affine.tolist()}
                for name, grid in study.series.items()
            ],
            "label": said_by(app.datastore().labels.latest(study.case_id)),
        }

    @routes.get("/studies/{case}/displacement")
    def displacement(case: str, user: Annotated[User, _USER], series: str = "") -> dict[str, Any]:
        """How the phase of a series was moved onto the reference: places there and back, as fields of displacement.

        Both are null where the scanner's coordinates are the reference's. A field is known on nodes, ``shape`` of them
        and with the ``affine`` to RAS world; ``vectors`` in mm, RAS, in the order of the nodes, the last axis fastest.
        """
        study, shown = opened(case, series)
        moved, grid = study.displacement(shown), study.grid(shown)
        back = None if moved is None else moved.inverse(grid.shape, grid.affine)
        return {"to_phase": in_json(moved), "to_reference": in_json(back)}

    @routes.get("/studies/{case}/result")
    def result(case: str, user: Annotated[User, _USER]) -> dict[str, Any]:
        """The analysis of a study, done now if it was not before."""
        study, _ = opened(case)
        return facts(app.analyser.analyse(study))

    @routes.get("/studies/{case}/page")
    def page(case: str, user: Annotated[User, _USER]) -> HTMLResponse:
        """The analysis as a page to read and to print."""
        study, _ = opened(case)
        analysed = app.analyser.analyse(study)
        html = result_page(study, analysed, app.analyser, label=app.datastore().labels.latest(study.case_id))
        return HTMLResponse(html, headers=_PAGE_HEADERS)

    @routes.get("/studies/{case}/mask")
    def mask(case: str, user: Annotated[User, _USER], series: str = "") -> Response:
        """The analysis' mask as NRRD on the grid of a series."""
        study, shown = opened(case, series)
        return drawn(app.analyser.analyse(study).mask, study, shown)

    @routes.get("/studies/{case}/label")
    def label(case: str, user: Annotated[User, _USER]) -> dict[str, Any]:
        """What a reader said last; ``label`` is null while nobody has."""
        return {"label": said_by(app.datastore().labels.latest(case_of(case)))}

    @routes.get("/studies/{case}/labels")
    def labels(case: str, user: Annotated[User, _USER]) -> dict[str, Any]:
        """Everything that readers said."""
        return {"labels": [said_by(version) for version in app.datastore().labels.versions(case_of(case))]}

    @routes.get("/studies/{case}/label/mask")
    def label_mask(case: str, user: Annotated[User, _USER], series: str = "") -> Response:
        """The reader's last mask as NRRD on the grid of a series."""
        study, shown = opened(case, series)
        saved = app.datastore().labels.latest(study.case_id)
        if saved is None or saved.mask_file is None:
            msg = "no reader has saved a mask of this study"
            raise UnknownError(msg)
        return drawn(read_mask(saved.mask_file.read_bytes(), study, None), study, shown)

    @routes.put("/studies/{case}/diagnosis")
    def set_diagnosis(
        case: str,
        user: Annotated[User, _ANNOTATOR],
        diagnosis: Annotated[str, Body()],
        reader: Annotated[str, Body()] = "",
    ) -> dict[str, Any]:
        """Set the study's diagnosis; its mask stays as it is."""
        study, _ = opened(case)
        return save(study, None, diagnosis=known_diagnosis(diagnosis), reader=named(user, reader))

    @routes.put("/studies/{case}/label")
    def set_label(
        case: str,
        user: Annotated[User, _ANNOTATOR],
        mask: Annotated[UploadFile, File()],
        series: Series = "",
        classes: Annotated[str, Form()] = "",
        diagnosis: Annotated[str, Form()] = "",
        reader: Annotated[str, Form()] = "",
        note: Annotated[str, Form()] = "",
    ) -> dict[str, Any]:
        """Save a reader's mask: NRRD, NIfTI, or one byte a voxel on the grid of ``series``."""
        said = known_diagnosis(diagnosis) if diagnosis else None
        study, shown = opened(case, series)
        content = read_mask(mask.file.read(), study, shown, classes=class_names(classes))
        remark = plain_text(note, what="note")
        return save(study, content, diagnosis=said, reader=named(user, reader), note=remark)

    @routes.post("/studies/{case}/region")
    def region(
        case: str,
        user: Annotated[User, _USER],
        mask: Annotated[UploadFile, File()],
        series: Series = "",
        classes: Annotated[str, Form()] = "",
    ) -> dict[str, Any]:
        """Curve, washout and kinetic rule of a mask that is not saved."""
        study, shown = opened(case, series)
        content = read_mask(mask.file.read(), study, shown, classes=class_names(classes))
        return region_curves(content, study, app.analyser)

    @routes.get("/queue")
    def queue(user: Annotated[User, _USER]) -> dict[str, int]:
        """How many analyses run and wait."""
        return asdict(app.analyser.queue.state())

    def save(
        study: OpenStudy, mask: np.ndarray | None, *, diagnosis: str | None, reader: str, note: str = ""
    ) -> dict[str, Any]:
        saved = app.datastore().save(study, mask=mask, diagnosis=diagnosis, reader=reader, note=note)
        return {"label": said_by(saved)}

    return routes


def drawn(mask: np.ndarray, study: OpenStudy, series: str | None) -> Response:
    """A mask of the case as an NRRD file on the grid of a series."""
    content = nrrd(on_grid(mask, study, series), study.grid(series).affine, compress=True)
    return Response(content, media_type="application/octet-stream")


def in_json(field: Displacement | None) -> Mapping[str, Any] | None:
    """A field of displacement for a client, to a hundredth of a millimetre."""
    if field is None:
        return None
    vectors = np.round(field.field_mm.astype(float), 2).ravel().tolist()
    return {"shape": field.field_mm.shape[:3], "affine": field.affine.tolist(), "vectors": vectors}


def said_by(label: Label | None) -> Mapping[str, Any] | None:
    """A label for a client: without its file's place."""
    if label is None:
        return None
    return {
        "version": label.version,
        "has_mask": label.mask_file is not None,
        "lesions": [{"id": x.id, "class": x.tumour_class, "volume_ml": x.volume_ml} for x in label.lesions],
        "diagnosis": label.diagnosis,
        "reader": label.reader,
        "saved_at": label.saved_at,
        "note": label.note,
    }


def known_diagnosis(text: str) -> str:
    """A diagnosis that there is.

    Raises:
        BadRequestError: it is none.
    """
    if text not in DIAGNOSES:
        msg = f"diagnosis is none of {', '.join(DIAGNOSES)}"
        raise BadRequestError(msg)
    return text


def named(user: User, said: str) -> str:
    """The reader's name, checked.

    Raises:
        BadRequestError: not a name.
    """
    return plain_text(reader_of(user, said), what="reader", longest=_READER_LENGTH)
