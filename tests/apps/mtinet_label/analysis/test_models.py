import json
from pathlib import Path

import pytest
import torch

from lib.errors import BadRequestError
from lib.models import SHIPPED_WEIGHTS, ModelShelf, bundle_version
from scripts.domain.errors import CheckpointError
from scripts.engines.weights import save_atomically


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    return _weights(tmp_path / "shipped.pt", 0.0)


@pytest.fixture
def small_shelf(tmp_path: Path, shipped: Path) -> ModelShelf:
    return ModelShelf(tmp_path / "shelf", shipped=shipped, version="1.0.0")


def _weights(file: Path, value: float, *, features: int = 3, image_size: int = 128) -> Path:
    save_atomically({"layer": torch.full((features,), value), "image_size": torch.tensor(image_size)}, file)
    return file


def test_damaged_weights_are_not_promoted(small_shelf: ModelShelf, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        small_shelf.promote(tmp_path / "bad.pt", metrics={})
    assert small_shelf.current().version == "1.0.0"


@pytest.mark.parametrize(
    ("change", "message"), [({"features": 4}, "another network"), ({"image_size": 256}, "image_size 256")]
)
def test_weights_of_another_network_are_not_promoted(
    small_shelf: ModelShelf, tmp_path: Path, change: dict[str, int], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        small_shelf.promote(_weights(tmp_path / "new.pt", 1.0, **change), metrics={})


def test_nothing_to_roll_back_to(small_shelf: ModelShelf) -> None:
    with pytest.raises(BadRequestError, match="own weights are served already"):
        small_shelf.rollback()


@pytest.mark.parametrize("text", ["", "[]", '{"served": 3, "promotions": []}', '{"served": 0, "promotions": [{}]}'])
def test_a_damaged_shelf_is_refused(small_shelf: ModelShelf, text: str) -> None:
    small_shelf.folder.mkdir()
    (small_shelf.folder / "shelf.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        small_shelf.current()


def test_a_promotion_that_cannot_be_written_leaves_the_old(small_shelf: ModelShelf, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        small_shelf.promote(_weights(tmp_path / "new.pt", 1.0), metrics={"dice": float("nan")})
    assert small_shelf.current().version == "1.0.0"


def test_the_bundle_s_own_weights_are_served_first() -> None:
    served = ModelShelf(Path("nowhere")).current()
    assert served.file == SHIPPED_WEIGHTS
    assert served.version == bundle_version()
    assert served.promoted_at == ""


def test_promoted_weights_are_copied_and_known_to_other_shelves(
    small_shelf: ModelShelf, shipped: Path, tmp_path: Path
) -> None:
    new = _weights(tmp_path / "new.pt", 1.0)
    other = ModelShelf(small_shelf.folder, shipped=shipped, version="1.0.0")
    before = other.current()
    promoted = small_shelf.promote(new, metrics={"dice": 0.8})
    new.unlink()
    assert other.current() == promoted
    assert promoted.sha256 != before.sha256
    assert torch.load(promoted.file, weights_only=True)["layer"].tolist() == [1.0] * 3
    assert (promoted.version, promoted.metrics) == ("1.0.0+1", {"dice": 0.8})


def test_rollback_goes_to_what_was_served_before(small_shelf: ModelShelf, tmp_path: Path) -> None:
    first = small_shelf.promote(_weights(tmp_path / "1.pt", 1.0), metrics={})
    small_shelf.promote(_weights(tmp_path / "2.pt", 2.0), metrics={})
    assert small_shelf.rollback() == first
    third = small_shelf.promote(_weights(tmp_path / "3.pt", 3.0), metrics={})
    assert third.version == "1.0.0+3"
    assert small_shelf.rollback() == first
    assert small_shelf.rollback().file == small_shelf.shipped
    assert small_shelf.current().version == "1.0.0"
    assert [model.version for model in small_shelf.history()] == ["1.0.0", "1.0.0+1", "1.0.0+2", "1.0.0+3"]


def test_another_file_of_the_bundle_has_another_digest(small_shelf: ModelShelf, shipped: Path) -> None:
    before = small_shelf.current().sha256
    _weights(shipped, 5.0, features=4)
    assert small_shelf.current().sha256 != before


def test_no_path_is_stored(small_shelf: ModelShelf, tmp_path: Path) -> None:
    small_shelf.promote(_weights(tmp_path / "1.pt", 1.0), metrics={})
    assert str(tmp_path) not in json.dumps((small_shelf.folder / "shelf.json").read_text())
