"""Keeps what requests and studies say out of the log: MONAI Label writes whole requests and headers into it."""

from __future__ import annotations

import logging
import re
import traceback

from lib.security.refusals import without_paths

# These write each request, each answer and each image's header at level INFO.
_TALKATIVE = (
    "monailabel.endpoints",
    "monailabel.interfaces.app",
    "monailabel.interfaces.tasks",
    "monailabel.interfaces.utils.app",
    "monailabel.datastore",
    "monailabel.tasks",
    "monailabel.utils.async_tasks",
    "monailabel.utils.sessions",
    "httpx",
    "pydicom",
    "highdicom",
    "dicomweb_client",
)
_UID = re.compile(r"\b[0-9]+(?:\.[0-9]+){4,}\b")
_STRUCTURE = re.compile(r"\{.*\}|\[.*\]", re.DOTALL)
_QUERY = re.compile(r"\?[^\s\"']*")


class _WithoutValues(logging.Filter):
    """Goes on handlers, where every logger's records pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "without_values", False):  # by the filter of another handler
            return True
        record.without_values = True
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        ours = record.name.startswith("lib.")
        if record.exc_info:
            kind, _, trace = record.exc_info
            record.exc_info, record.exc_text = None, None
            text = f"{text.splitlines()[0] if text else ''} ({getattr(kind, '__name__', kind)})"
            text += "\n" + "".join(traceback.format_tb(trace))
        elif not ours:
            text = without_paths(_STRUCTURE.sub("{…}", text))
        text = _UID.sub("<uid>", text)
        if record.name == "uvicorn.access" and isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, target, version, status = record.args
            record.args = (client, method, _UID.sub("<uid>", _QUERY.sub("", str(target))), version, status)
        else:
            record.msg, record.args = text, ()
        return True


_FILTER = _WithoutValues()


def quiet_logs() -> None:
    """Quieten MONAI Label's loggers, and put the filter before every handler that there is now."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        # By name: a reload brings a class of the same name that is not the same.
        if not any(type(one).__name__ == type(_FILTER).__name__ for one in handler.filters):
            handler.addFilter(_FILTER)
