"""What goes wrong in the server, each with the HTTP status that answers it."""

from __future__ import annotations

from scripts.domain.errors import MTINetError


class AppError(MTINetError):
    """Any of them; its text is for the user and holds no path and nothing about a patient."""

    status = 500


class BadRequestError(AppError):
    """The request asks for something that cannot be."""

    status = 400


class UnknownError(AppError):
    """No such study, series, label or model."""

    status = 404


class BusyError(AppError):
    """Too many requests are waiting already; try again in a moment."""

    status = 503


class UnavailableError(AppError):
    """The PACS does not answer, or not as it should."""

    status = 502
