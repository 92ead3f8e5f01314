"""A throw-away app behind the guard, over MONAI Label's own datastore, which guards nothing."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

sys.path.insert(0, os.environ["MTINET_APP"])

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from lib.errors import BusyError, UnknownError
from lib.security import protect
from lib.settings import Settings
from lib.studies.study import Address
from scripts.domain.errors import StudyError

SECRET = "Doe^Jane-19570302"
FAULTS = {
    "trouble-bug": ValueError(f"{SECRET} in /srv/studies/secret.nii.gz"),
    "trouble-study": StudyError("/srv/studies/secret.nii.gz has three phases; add the fourth"),
    "trouble-busy": BusyError("four analyses wait already; try again in a moment"),
    "trouble-label": MONAILabelException(MONAILabelError.INFERENCE_ERROR, "failed in /srv/studies/secret.nii.gz"),
}


class Source:
    def __init__(self, folder):
        self.folder = Path(folder)

    def resolve(self, image_id):
        if image_id in FAULTS or (self.folder / f"{image_id}.nii.gz").is_file():
            return Address(image_id)
        raise UnknownError("there is no such study")


class Echo(InferTask):
    def __init__(self):
        super().__init__(InferType.SEGMENTATION, {"hemangioma": 1, "hcc": 2}, 3, "echo", config={"threshold": 0.5})

    def is_valid(self):
        return True

    def __call__(self, request):
        for name, fault in FAULTS.items():
            if name in request["image"]:
                raise fault
        label = request.get("label")
        if "result_extension" in request:
            file = Path(tempfile.mkdtemp(), f"mask{request['result_extension']}")
            file.write_bytes(b"mask")
            return str(file), {"asked": sorted(request)}
        told = {} if label is None else {"endings": Path(label).suffixes, "bytes": Path(label).stat().st_size}
        return None, {"asked": sorted(request), **told}


class First(Strategy):
    def __init__(self):
        super().__init__("the first")

    def __call__(self, request, datastore):
        return {"id": sorted(datastore.get_unlabeled_images())[0], "asked": sorted(request)}


class Nothing(TrainTask):
    def __init__(self):
        super().__init__("nothing")

    def config(self):
        return {"epochs": 2, "device": ["cpu"]}

    def __call__(self, request, datastore):
        return {}


class GuardedApp(MONAILabelApp):
    def __init__(self, app_dir, studies, conf):
        super().__init__(app_dir=app_dir, studies=studies, conf=conf, name="guarded")
        protect(self, Settings.of(conf, studies), Source(studies))
        from monailabel.app import app as server

        server.include_router(self.own_routes())

    def init_infers(self):
        return {"mtinet": Echo()}

    def init_trainers(self):
        return {"mtinet": Nothing()}

    def init_strategies(self):
        return {"first": First()}

    def datastore(self):
        store = super().datastore()
        if not isinstance(store, Faulty):
            store.__class__ = type("FaultyStore", (Faulty, type(store)), {})
        return store

    def own_routes(self):
        routes = APIRouter(prefix="/mtinet")

        @routes.put("/studies/{case}/diagnosis")
        async def diagnosis(case, request: Request):
            user = request.state.user
            return {"said": await request.json(), "user": user and user.username}

        @routes.put("/studies/{case}/label")
        async def label(
            case,
            mask: Annotated[UploadFile, File()],
            reader: Annotated[str, Form()] = "",
            classes: Annotated[str, Form()] = "",
        ):
            return {"name": mask.filename, "bytes": len(await mask.read()), "reader": reader, "classes": classes}

        @routes.get("/open")
        def proxied():
            return JSONResponse({"ok": True}, headers={"Access-Control-Allow-Origin": "*"})

        @routes.post("/training")
        async def training():
            return {"started": True}

        return routes


class Faulty:
    def get_image_uri(self, image_id):
        return image_id + "-trouble" if image_id in FAULTS else super().get_image_uri(image_id)
