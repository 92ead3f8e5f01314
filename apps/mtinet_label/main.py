"""The MONAI Label app: four-phase liver MRI, analysed by MTI-Net, corrected by readers, retrained on what they say.

``monailabel start_server --app apps/mtinet_label --studies <folder or DICOMweb address>``
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

APP = Path(__file__).resolve().parent
if sys.path.count(str(APP)) < 2:
    # MONAI Label puts the folder there for this import only, and what is imported later needs it, too.
    sys.path.insert(0, str(APP))

from monailabel.interfaces.app import MONAILabelApp  # noqa: E402
from monailabel.interfaces.datastore import Datastore  # noqa: E402
from monailabel.interfaces.tasks.infer_v2 import InferTask  # noqa: E402
from monailabel.interfaces.tasks.strategy import Strategy  # noqa: E402
from monailabel.interfaces.tasks.train import TrainTask  # noqa: E402

from lib.activelearning.scorer import SignalScorer  # noqa: E402
from lib.activelearning.strategies import strategies  # noqa: E402
from lib.analysis import Analyser  # noqa: E402
from lib.datastore import StudyDatastore, datastore_for  # noqa: E402
from lib.errors import UnknownError  # noqa: E402
from lib.infers.automatic import AutomaticTask  # noqa: E402
from lib.infers.interactive import InteractiveTask  # noqa: E402
from lib.infers.region import RegionTask  # noqa: E402
from lib.models import ModelShelf, bundle_version  # noqa: E402
from lib.routes import serving  # noqa: E402
from lib.security import protect  # noqa: E402
from lib.settings import Settings  # noqa: E402
from lib.trainers.finetune import FineTune  # noqa: E402

SHELF_FOLDER, ANALYSES_FOLDER, SIGNALS_FOLDER = "models", "analyses", "signals"
"""In the state folder."""


class MTINetLabel(MONAILabelApp):
    """The app, as MONAI Label makes it for its server, and once more in the process of a training.

    Args:
        app_dir: the folder of this file.
        studies: a folder, or the address of a DICOMweb server.
        conf: see ``Settings``.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, str] | None) -> None:
        self.settings = Settings.of(conf or {}, studies)
        self.shelf = ModelShelf(self.settings.state_dir / SHELF_FOLDER)
        self.analyser = Analyser(self.shelf, self.settings.state_dir / ANALYSES_FOLDER, self.settings)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=dict(conf or {}),
            name="MTI-Net",
            description="Four-phase liver MRI: tumours, their enhancement curve and their class. Research use only",
            version=bundle_version(),
        )
        # Re-scoring everything at start, at each next sample and after each training would keep a CPU busy for good.
        self._auto_update_scoring = False
        serving.include_routes(self)
        protect(self, self.settings, self._datastore.source)

    def init_datastore(self) -> StudyDatastore:
        """The studies and the readers' labels."""
        return datastore_for(self.studies, self.settings)

    def init_infers(self) -> dict[str, InferTask]:
        """What viewers can run."""
        source, labels = self._datastore.source, self._datastore.labels
        return {
            "mtinet": AutomaticTask(source, self.analyser),
            "mtinet_clicks": InteractiveTask(source, self.analyser),
            "region_curve": RegionTask(source, labels, self.analyser),
        }

    def init_trainers(self) -> dict[str, TrainTask]:
        """Fine-tuning on what readers said."""
        return {"mtinet": FineTune(self.shelf, self.settings)}

    def init_strategies(self) -> dict[str, Strategy]:
        """Ways to choose the study to annotate next."""
        signals = self.settings.state_dir / SIGNALS_FOLDER
        return strategies(SignalScorer(self.analyser, self._datastore.source, signals))

    def init_scoring_methods(self) -> dict[str, Any]:
        """None: what is worth knowing about a study is in its result."""
        return {}

    def init_batch_infer(self) -> dict[str, Any]:
        """None: it would analyse every study of the PACS."""
        return {}

    def _load_sessions(self, load: bool = False) -> None:
        """None: a session is one uploaded volume, and a study is four."""

    def infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Answer a request by its model.

        Unlike upstream, ``image`` is always the identifier of a study and never a path, and the answer never becomes a
        label.

        Args:
            request: ``model``, ``image`` and what the model takes.
            datastore: ignored: there is one.

        Returns:
            ``file``: the mask's, for the caller to remove, or None; ``params``: the facts beside it.

        Raises:
            UnknownError: no such model or study.
            AppError: what else the model says.
        """
        # Upstream runs models, too, that say themselves that they cannot be.
        models = {name: task for name, task in self._infers.items() if task.is_valid()}
        task = models.get(request.get("model"))
        if task is None:
            msg = f"there is no such model; there are {', '.join(sorted(models))}"
            raise UnknownError(msg)
        file, params = task(dict(request))
        return {"file": file, "label": file, "tag": "original", "params": params}

    def next_sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The study to annotate next, without its file's place.

        Raises:
            UnknownError: no such strategy.
        """
        strategy = self._strategies.get(request.get("strategy") or "random")
        if strategy is None:
            msg = f"there is no such strategy; there are {', '.join(sorted(self._strategies))}"
            raise UnknownError(msg)
        return strategy(dict(request), self.datastore()) or {}

    def on_init_complete(self) -> None:
        """The server is up: make the network ready before the first reader asks."""
        super().on_init_complete()
        threading.Thread(target=self.analyser.prepared, name="network", daemon=True).start()

    def on_save_label(self, image_id: str, label_id: str) -> None:
        """Nothing: upstream would log the identifiers of the study."""
