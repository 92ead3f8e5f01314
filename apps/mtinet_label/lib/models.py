"""Which weights the server uses: the bundle's own until others are promoted, and the way back."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.errors import BadRequestError
from lib.settings import BUNDLE_ROOT
from scripts.domain.errors import CheckpointError
from scripts.domain.writing import replace_when_written
from scripts.engines.weights import load_weights

SHIPPED_WEIGHTS = BUNDLE_ROOT / "models" / "model.pt"

_SHELF_FILE = "shelf.json"
_WEIGHTS_FOLDER = "weights"
_SHIPPED = 0


@dataclass(frozen=True)
class ServedModel:
    """Weights that are served, or once were.

    Args:
        file: a plain state_dict.
        sha256: of the file.
        version: the bundle's version; ``+1``, ``+2`` … follow it for promoted weights.
        promoted_at: UTC, ISO 8601; ``""`` for the bundle's own.
        metrics: what was measured before the promotion.
    """

    file: Path
    sha256: str
    version: str
    promoted_at: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Promotion:
    """One line of the shelf's file.

    Args:
        number: from 1.
        before: the number of what was served until then, to which a rollback goes.
        learned: the cases that they learned from, never to be held out again.
    """

    number: int
    sha256: str
    promoted_at: str
    before: int
    metrics: Mapping[str, Any]
    learned: Sequence[str] = ()


@dataclass(frozen=True)
class _Shelf:
    served: int = _SHIPPED
    promotions: tuple[_Promotion, ...] = ()


class ModelShelf:
    """The weights of a server, in a folder that several processes may look at and change.

    The file that says what is served is read again whenever it has changed, so a promotion or a rollback by another
    process counts from the next analysis on.

    Args:
        folder: of the promoted weights; made by the first promotion.
        shipped: the bundle's own weights.
        version: of the bundle; by default as its ``metadata.json`` says.
    """

    def __init__(self, folder: Path, *, shipped: Path = SHIPPED_WEIGHTS, version: str | None = None) -> None:
        self.folder = Path(folder)
        self.shipped = Path(shipped)
        self.version = bundle_version() if version is None else version
        self._digests: dict[tuple[int, int], str] = {}

    def current(self) -> ServedModel:
        """What the next analysis uses.

        Raises:
            CheckpointError: the shelf's file or the weights that it names are damaged.
        """
        shelf = self._read()
        return self._model(shelf, shelf.served)

    def history(self) -> list[ServedModel]:
        """The bundle's own weights, then every promoted ones, oldest first; what is served now is among them."""
        shelf = self._read()
        return [self._model(shelf, number) for number in range(len(shelf.promotions) + 1)]

    def learned(self) -> set[str]:
        """Every case that promoted weights learned from, those that were rolled back included."""
        return {case for promotion in self._read().promotions for case in promotion.learned}

    def promote(
        self,
        file: Path,
        *,
        metrics: Mapping[str, Any],
        learned: Iterable[str] = (),
        instead_of: ServedModel | None = None,
    ) -> ServedModel:
        """Serve other weights from now on. They are copied; the old ones stay for ``rollback``.

        Args:
            file: a plain state_dict with the same tensors as the bundle's own weights.
            metrics: what was measured, plain numbers and words.
            learned: the cases that they learned from.
            instead_of: what they were compared with.

        Raises:
            BadRequestError: other weights than ``instead_of`` are served by now.
            CheckpointError: they cannot be read or belong to another network.
        """
        self._require_same_network(file)
        digest = _sha256(file)
        with self._alone():
            shelf = self._read()
            if instead_of is not None and self._model(shelf, shelf.served).sha256 != instead_of.sha256:
                msg = (
                    "other weights were put in place meanwhile than those that the new ones were compared with, so the "
                    "new ones are not served. Train again"
                )
                raise BadRequestError(msg)
            target = self._promoted_file(digest)
            if not target.exists():
                with replace_when_written(target) as aside:
                    shutil.copyfile(file, aside)
            promotion = _Promotion(
                number=len(shelf.promotions) + 1,
                sha256=digest,
                promoted_at=datetime.now(UTC).isoformat(timespec="seconds"),
                before=shelf.served,
                metrics=dict(metrics),
                learned=sorted(learned),
            )
            shelf = _Shelf(promotion.number, (*shelf.promotions, promotion))
            self._write(shelf)
            return self._model(shelf, shelf.served)

    def rollback(self) -> ServedModel:
        """Serve again what was served before the current weights were promoted.

        Raises:
            BadRequestError: the bundle's own weights are served already.
        """
        with self._alone():
            shelf = self._read()
            if shelf.served == _SHIPPED:
                msg = "the bundle's own weights are served already; there is nothing to roll back to"
                raise BadRequestError(msg)
            shelf = _Shelf(shelf.promotions[shelf.served - 1].before, shelf.promotions)
            self._write(shelf)
            return self._model(shelf, shelf.served)

    def serve(self, version: str) -> ServedModel:
        """Serve one of the ``history`` again: the way back from a rollback.

        Raises:
            BadRequestError: there is none of this version.
        """
        with self._alone():
            shelf = self._read()
            for number in range(len(shelf.promotions) + 1):
                if self._model(shelf, number).version == version:
                    self._write(_Shelf(number, shelf.promotions))
                    return self._model(shelf, number)
        msg = f"there are no weights of version {version}; --list shows what there is"
        raise BadRequestError(msg)

    def _model(self, shelf: _Shelf, number: int) -> ServedModel:
        if number == _SHIPPED:
            return ServedModel(self.shipped, self._shipped_digest(), self.version)
        promotion = shelf.promotions[number - 1]
        return ServedModel(
            file=self._promoted_file(promotion.sha256),
            sha256=promotion.sha256,
            version=f"{self.version}+{number}",
            promoted_at=promotion.promoted_at,
            metrics=promotion.metrics,
        )

    def _shipped_digest(self) -> str:
        # The bundle's file changes with an update of the bundle, so its digest is kept by its time and size.
        state = self.shipped.stat()
        key = (state.st_mtime_ns, state.st_size)
        if key not in self._digests:
            self._digests[key] = _sha256(self.shipped)
        return self._digests[key]

    def _require_same_network(self, file: Path) -> None:
        new, own = load_weights(file), load_weights(self.shipped)
        wrong = sorted(new.keys() ^ own.keys()) or sorted(k for k in own if new[k].shape != own[k].shape)
        if wrong:
            msg = (
                f"these weights belong to another network: {wrong[0]} differs. Fine-tune with the bundle's network_def"
            )
            raise CheckpointError(msg)
        if "image_size" in own and int(new["image_size"]) != int(own["image_size"]):
            msg = f"these weights were trained at image_size {int(new['image_size'])}, not {int(own['image_size'])}"
            raise CheckpointError(msg)

    def _promoted_file(self, digest: str) -> Path:
        return self.folder / _WEIGHTS_FOLDER / f"{digest}.pt"

    def _read(self) -> _Shelf:
        # A few hundred bytes: reading them each time is cheaper than being wrong about whether they changed.
        try:
            text = (self.folder / _SHELF_FILE).read_text()
        except FileNotFoundError:
            return _Shelf()
        try:
            document = json.loads(text)
            shelf = _Shelf(int(document["served"]), tuple(_Promotion(**entry) for entry in document["promotions"]))
            if not 0 <= shelf.served <= len(shelf.promotions):
                raise IndexError(shelf.served)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            msg = f"{_SHELF_FILE} of the served weights is damaged. Remove it to serve the bundle's own weights again"
            raise CheckpointError(msg) from error
        return shelf

    def _write(self, shelf: _Shelf) -> None:
        document = {"served": shelf.served, "promotions": [asdict(entry) for entry in shelf.promotions]}
        with replace_when_written(self.folder / _SHELF_FILE) as aside:
            aside.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process and thread at a time changes the shelf."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def bundle_version() -> str:
    """The bundle's version, from its ``metadata.json``."""
    return json.loads((BUNDLE_ROOT / "configs" / "metadata.json").read_text())["version"]


def _sha256(file: Path) -> str:
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
