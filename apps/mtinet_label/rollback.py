"""Serve the weights before the current ones again, at once and without a restart of the server.

python apps/mtinet_label/rollback.py --studies <what the server was started with>
"""

from __future__ import annotations

import argparse

from lib.models import ModelShelf, ServedModel
from lib.settings import Settings
from scripts.domain.entry import entry_point

SHELF_FOLDER = "models"
"""In the state folder, as ``main.py`` has it."""


@entry_point
def main(arguments: list[str] | None = None) -> None:
    """Roll back once, or list what there is.

    Args:
        arguments: of the command line.

    Raises:
        SystemExit: the bundle's own weights are served already, or there are none of the version.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", default="", help="folder or DICOMweb address, as given to the server")
    parser.add_argument("--state", default="", help="the server's state folder, where it was given one")
    parser.add_argument("--to", default="", metavar="VERSION", help="one of the list, instead of those before")
    parser.add_argument("--list", action="store_true", help="only say which weights there are")
    given = parser.parse_args(arguments)
    if not (given.studies or given.state):
        parser.error("give --studies or --state, so that the server's weights can be found")
    settings = Settings.of({"state": given.state} if given.state else {}, given.studies)
    shelf = ModelShelf(settings.state_dir / SHELF_FOLDER)
    if given.list:
        current = shelf.current()
        for model in shelf.history():
            print(f"{'*' if model == current else ' '} {_line(model)}")
        return
    print(f"served from now on: {_line(shelf.serve(given.to) if given.to else shelf.rollback())}")


def _line(model: ServedModel) -> str:
    return f"{model.version}  {model.sha256[:12]}  {model.promoted_at or 'the bundle'}"


if __name__ == "__main__":
    main()
