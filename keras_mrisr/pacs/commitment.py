"""Storage Commitment (PS3.4, annex J): a peer asks whether its instances are kept, and is told."""

import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID

log = logging.getLogger(__name__)

CLASS = UID("1.2.840.10008.1.20.1")
_INSTANCE = UID("1.2.840.10008.1.20.1.1")
_REQUEST, _ALL_KEPT, _SOME_NOT = 1, 1, 2  # Types of actions and of events.
_SUCCESS, _NO_SUCH_ACTION, _BAD_REQUEST, _NO_SUCH_INSTANCE = 0x0000, 0x0123, 0x0115, 0x0112


class Commitment:
    """Answers requests.

    Args:
        keep: Takes SOPInstanceUIDs; returns those that are not kept.
        address: Takes the AE title and the address of a peer; returns (address, port) where it takes reports,
            or None where it takes them on the connection of the request.
        title: The AE title of the node.
        tls: For reports on connections of their own.
        timeout: Seconds without an answer.
    """

    def __init__(
        self,
        keep: Callable[[Sequence[str]], set[str]],
        address: Callable[[str, str], tuple[str, int] | None],
        title: str,
        tls: ssl.SSLContext | None,
        timeout: float,
    ) -> None:
        self.keep, self.address, self.title, self.tls, self.timeout = keep, address, title, tls, timeout
        self._reports: dict[Any, tuple[int, Dataset]] = {}

    def request(self, event: Any) -> tuple[int, None]:
        """Handles N-ACTION; the report follows once this is answered."""
        if event.action_type != _REQUEST:
            return _NO_SUCH_ACTION, None
        try:
            asked = event.action_information
            transaction, items = str(asked.TransactionUID), list(asked.ReferencedSOPSequence)
            names = [str(item.ReferencedSOPInstanceUID) for item in items]
        except Exception as error:  # What pydicom raises of foreign bytes has no common class.
            log.warning("Refused a request for Storage Commitment: %s", error)
            return _BAD_REQUEST, None
        missing = self.keep(names)
        log.info("Storage Commitment of %d instances, %d of them not kept", len(names), len(missing))
        self._reports[event.assoc] = _report(transaction, items, missing)
        return _SUCCESS, None

    def sent(self, event: Any) -> None:
        """Handles what was sent to a peer; after the answer to a request comes its report."""
        if type(event.pdu).__name__ == "P_DATA_TF" and (report := self._reports.pop(event.assoc, None)):
            threading.Thread(target=self._tell, args=(event.assoc, *report), daemon=True).start()

    def _tell(self, association: Any, kind: int, report: Dataset) -> None:
        from pynetdicom import AE, build_role

        requestor = association.requestor
        title = requestor.primitive.calling_ae_title.strip()
        place = self.address(title, requestor.address)
        own = None
        try:
            if place is not None:
                entity = AE(ae_title=self.title)
                entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = self.timeout
                entity.add_requested_context(CLASS)
                tls = None if self.tls is None else (self.tls, place[0])
                association = own = entity.associate(
                    *place, ae_title=title, ext_neg=[build_role(CLASS, scp_role=True)], tls_args=tls
                )
            status, _ = association.send_n_event_report(report, kind, CLASS, _INSTANCE)
            if getattr(status, "Status", None) != _SUCCESS:
                log.warning("%s did not take the report of a Storage Commitment", title)
        except (ValueError, RuntimeError) as error:  # It has gone, or takes none.
            log.warning("%s did not take the report of a Storage Commitment: %s", title, error)
        finally:
            if own is not None and own.is_established:
                own.release()


def _report(transaction: str, items: Sequence[Dataset], missing: set[str]) -> tuple[int, Dataset]:
    """(type, content) of the event that says what is kept."""
    report = Dataset()
    report.TransactionUID = transaction
    kept = [item for item in items if item.ReferencedSOPInstanceUID not in missing]
    lost = [item for item in items if item.ReferencedSOPInstanceUID in missing]
    for item in lost:
        item.FailureReason = _NO_SUCH_INSTANCE
    if kept:
        report.ReferencedSOPSequence = kept
    if lost:
        report.FailedSOPSequence = lost
    return (_SOME_NOT if lost else _ALL_KEPT), report
