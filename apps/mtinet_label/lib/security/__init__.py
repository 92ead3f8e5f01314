"""Keeps a request from reaching what it must not: who may call, what may be asked, and what is told when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monailabel.interfaces.app import MONAILabelApp

    from lib.settings import Settings
    from lib.studies.study import StudySource


def protect(app: MONAILabelApp, settings: Settings, source: StudySource) -> None:
    """Put the guard before MONAI Label's server, however that was started; call it in the app's constructor.

    May be called again, e.g. after a reload: the newest call counts.

    Args:
        app: whose models, trainers and strategies may be named in a request; they may be made after this call.
        settings: ``allow_remote``, ``origins`` and ``max_upload_mb`` are used.
        source: says which images there are.

    Raises:
        ConfigurationError: ``origins`` or MONAI Label's authentication settings are unusable.
    """
    # Here, not above: whoever needs only an allow-list does not wait for MONAI Label's imports.
    from lib.security.installing import install

    install(app, settings, source)
