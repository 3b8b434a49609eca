"""The queue of a DICOM node, on disk: what was received and what is to be sent survives a restart.

`incoming/SERIES/INSTANCE.dcm` is received, `outgoing/SERIES/` is the derived series of it until it is sent,
`failed/SERIES/` is what could not be upscaled, with `reason.txt`.
"""

import os
import pathlib
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence

from keras_mrisr.errors import DataError
from keras_mrisr.files import write_text
from keras_mrisr.types import PathLike
from keras_mrisr.volumes.dicom.files import image_header, pydicom_at_work

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_REASON = "reason.txt"
_COMMITTED = "committed"  # Has an empty file for each received series that is complete.


class Refused(DataError):
    """An instance that the node does not take; `status` is what DICOM says of it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Queue:
    """The queue in a folder.

    Args:
        folder: Made if missing.
        limit: Bytes of received instances that it may hold.
    """

    def __init__(self, folder: PathLike, limit: int) -> None:
        self.folder, self.limit = pathlib.Path(folder), limit
        self._lock = threading.Lock()  # An instance may come while its series is removed.
        for name in ("incoming", "outgoing", "failed", "receiving", _COMMITTED):
            try:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataError(
                    f"Cannot write {self.folder}: {error.strerror}. Choose another queue."
                ) from error
        for path in (self.folder / "receiving").iterdir():  # Never acknowledged: the sender still has it.
            path.unlink()
        self._held = sum(path.stat().st_size for path in (self.folder / "incoming").rglob("*.dcm"))

    def put(self, content: bytes) -> pathlib.Path:
        """Keeps an instance, a whole DICOM file, and returns once it is on the disk.

        Raises:
            Refused: It is no MR image, or cut off, or there is no room.
        """
        if self._held + len(content) > self.limit:
            raise Refused(f"the queue holds {self._held} bytes, and may hold {self.limit}", 0xA700)
        received = self.folder / "receiving" / f"{uuid.uuid4().hex}.dcm"
        try:
            with received.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            series, instance = _identifiers(received)
            target = self.folder / "incoming" / series / f"{instance}.dcm"
            with self._lock:
                target.parent.mkdir(exist_ok=True)
                os.replace(received, target)
                self._mark(target.parent).unlink(missing_ok=True)
                self._held += len(content)
        except OSError as error:
            raise Refused(f"it cannot be kept: {error.strerror}", 0xA700) from error
        finally:
            received.unlink(missing_ok=True)
        return target

    def commit(self, instances: Sequence[str]) -> set[str]:
        """Takes series as complete whose instances these are; returns those that are not in the queue.

        Where one of them is not there, nothing is complete: it may still come.
        """
        with self._lock:
            found = {
                path.stem: path.parent
                for part in ("incoming", "failed")
                for path in self.folder.glob(f"{part}/*/*.dcm")
            }
            missing = {name for name in instances if name not in found}
            if not missing:
                for series in {found[name] for name in instances}:
                    self._mark(series).touch()
        return missing

    def complete(self, quiet: float) -> Iterator[pathlib.Path]:
        """The folders of received series that are committed, or had nothing added for `quiet` seconds."""
        for folder in sorted((self.folder / "incoming").iterdir()):
            newest = max((path.stat().st_mtime for path in folder.glob("*.dcm")), default=None)
            if newest is None:
                continue
            if self._mark(folder).exists() or time.time() - newest >= quiet:
                yield folder

    def _mark(self, series: pathlib.Path) -> pathlib.Path:
        """The file that says that a series is complete."""
        return self.folder / _COMMITTED / series.name

    def outgoing(self) -> list[pathlib.Path]:
        """The folders of derived series that are to be sent; not of those that are still to be made again."""
        return sorted(
            path
            for path in (self.folder / "outgoing").iterdir()
            if not path.name.startswith(".") and not (self.folder / "incoming" / path.name).exists()
        )

    def derived(self, series: pathlib.Path) -> pathlib.Path:
        """Where the derived series of a received one goes."""
        return self.folder / "outgoing" / series.name

    def files(self, series: pathlib.Path) -> set[pathlib.Path]:
        """The instances of a received series."""
        return set(series.glob("*.dcm"))

    def done(self, series: pathlib.Path, files: set[pathlib.Path]) -> bool:
        """Removes a received series, whose derived one is there, unless it has other files by now."""
        with self._lock:
            if self.files(series) != files:
                return False
            self._held -= sum(path.stat().st_size for path in files)
            shutil.rmtree(series)
            self._mark(series).unlink(missing_ok=True)
            return True

    def sent(self, series: pathlib.Path) -> None:
        """Removes a derived series, which was sent."""
        shutil.rmtree(series)

    def fail(self, series: pathlib.Path, reason: str) -> None:
        """Puts a received series aside, with the reason."""
        target = self.folder / "failed" / series.name
        shutil.rmtree(target, ignore_errors=True)
        with self._lock:
            self._held -= sum(path.stat().st_size for path in self.files(series))
            os.replace(series, target)
            self._mark(series).unlink(missing_ok=True)
        write_text(target / _REASON, f"{reason}\n")


def _identifiers(path: pathlib.Path) -> tuple[str, str]:
    """(SeriesInstanceUID, SOPInstanceUID) of an MR image.

    Raises:
        Refused: It is none, or cut off.
    """
    header = None
    try:
        with pydicom_at_work():
            header = image_header(path)
    except DataError as error:
        reason = re.sub(rf"{re.escape(str(path))} ", "", str(error))
        raise Refused(reason, 0xC000) from error
    if header is None:
        raise Refused("it is no DICOM", 0xC000)
    if header.get("Modality") != "MR" or "Rows" not in header:
        raise Refused(f"its modality is {header.get('Modality')}, not MR", 0xA900)
    uids = [str(header.get(key, "")) for key in ("SeriesInstanceUID", "SOPInstanceUID")]
    if not all(_UID.fullmatch(uid) and len(uid) <= 64 for uid in uids):
        raise Refused("its identifiers are none", 0xC000)
    return uids[0], uids[1]
