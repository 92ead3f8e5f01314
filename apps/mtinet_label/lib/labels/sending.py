"""Sends readers' masks to the PACS behind their backs: a PACS that fails costs nobody a label."""

from __future__ import annotations

import logging
import threading

from lib.errors import BusyError, UnavailableError
from lib.labels.coded_seg import sop_instance_uid, write_seg
from lib.labels.label import Label
from lib.labels.store import LabelStore
from lib.studies.dicomweb import DicomwebSource

logger = logging.getLogger(__name__)


class SegSender:
    """Stores the latest version of every label with a lesion as SEG, in a thread of its own.

    What could not be sent stays "not sent yet" in the store, and is tried again after the next save of any study, when
    the server starts, and every minute while the PACS does not answer. A version that was replaced before it was sent
    is left out.

    Args:
        labels: what is to be sent.
        source: the studies' PACS.
        again_s: how long after a PACS did not answer it is asked again.
    """

    def __init__(self, labels: LabelStore, source: DicomwebSource, *, again_s: float = 60.0) -> None:
        self._labels = labels
        self._source = source
        self._again_s = again_s
        self._asked = self._done = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="SEG sender", daemon=True)

    def start(self) -> None:
        """Send what an earlier server could not, and from now on whatever is saved."""
        self._labels.when_saved(lambda _: self._ask())
        self._thread.start()
        self._ask()

    def wait(self, seconds: float) -> bool:
        """Wait until everything was tried that was asked for so far; False where that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._done == self._asked, seconds)

    def stop(self) -> None:
        """End the thread after the object that it is at."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()

    def _ask(self) -> None:
        with self._changed:
            self._asked += 1
            self._changed.notify_all()

    def _work(self) -> None:
        answering = True
        while True:
            with self._changed:
                longest_s = None if answering else self._again_s
                self._changed.wait_for(lambda: self._stopping or self._asked > self._done, longest_s)
                asked = self._asked
            if self._stopping:
                return
            try:
                answering = self._send_all()
            except Exception as error:  # the thread must live on; the error's message might quote a header
                logger.error("labels could not be sent to the PACS (%s); they are kept", type(error).__name__)
            with self._changed:
                self._done = asked
                self._changed.notify_all()

    def _send_all(self) -> bool:
        """Try every label; False, before the others, where the PACS does not answer at all."""
        for label in self._labels.unsent():
            if self._stopping:
                break
            try:
                self._send(label)
            except (UnavailableError, BusyError) as error:
                logger.warning("a label is not sent to the PACS yet: %s", error)
                if not self._answers(label):
                    return False
            except Exception as error:  # one label's fault must not hold back the others; it might quote a header
                logger.error("a label cannot be sent to the PACS (%s)", type(error).__name__)
        return True

    def _answers(self, label: Label) -> bool:
        """Whether the PACS is there, and refuses only this label."""
        try:
            self._source.pacs.peek(label.case_id)
        except UnavailableError:
            return False
        return True

    def _send(self, label: Label) -> None:
        self._source.pacs.store(write_seg(label, self._source.open(label.case_id)))
        self._labels.mark_sent(label, sop_instance_uid=sop_instance_uid(label))
