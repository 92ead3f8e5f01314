"""The app's class without its server: what it refuses even where no guard stands before it."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lib.errors import UnknownError

APP = Path(__file__).resolve().parents[4] / "apps" / "mtinet_label"


@dataclass
class Repeating:
    """A model that answers with what it was asked."""

    valid: bool = True

    def is_valid(self) -> bool:
        return self.valid

    def __call__(self, request: Mapping[str, Any]) -> tuple[None, Mapping[str, Any]]:
        return None, request


@pytest.fixture(scope="module")
def app_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mtinet_label_main", APP / "main.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


@pytest.fixture
def app(app_module: ModuleType) -> Any:
    """Not started: with one model and one strategy that repeat what they are asked."""
    app = app_module.MTINetLabel.__new__(app_module.MTINetLabel)
    app._infers = {"mtinet": Repeating(), "without_weights": Repeating(valid=False)}
    app._strategies = {"random": lambda request, datastore: {"id": "a", "weight": 1.0}, "none": lambda *_: None}
    app._datastore = None
    return app


@pytest.mark.parametrize("model", ["spleen", "without_weights", None])
def test_unknown_models(app: Any, model: str | None) -> None:
    with pytest.raises(UnknownError, match=r"there are mtinet$"):
        app.infer({"model": model, "image": "a"})


def test_unknown_strategies(app: Any) -> None:
    with pytest.raises(UnknownError, match="there are none, random"):
        app.next_sample({"strategy": "first"})


def test_an_image_is_never_a_file(app: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.nii.gz").write_bytes(b"")
    image = str(tmp_path / "secret.nii.gz")
    # Upstream would open it; here the model gets it as the identifier that it is not.
    assert app.infer({"model": "mtinet", "image": image})["params"]["image"] == image


def test_the_next_sample_says_no_path(app: Any) -> None:
    assert app.next_sample({}) == {"id": "a", "weight": 1.0}
    assert app.next_sample({"strategy": "none"}) == {}


def test_nothing_runs_by_itself(app: Any) -> None:
    assert app.init_scoring_methods() == {}
    assert app.init_batch_infer() == {}
    assert app._load_sessions(load=True) is None
