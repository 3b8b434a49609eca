"""How much memory there is, how much this process has, and whether a file may ask for so much."""

import contextlib
import contextvars
import math
import os
import pathlib
import re
from collections.abc import Iterator

from keras_mrisr.errors import DataError
from keras_mrisr.types import PathLike

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_UNKNOWN = 4 * 10**9
_limit: contextvars.ContextVar[int | None] = contextvars.ContextVar("memory_limit", default=None)


def parse_memory(text: str) -> int:
    """A number of bytes from what a person writes: "2GB", "1.5G", "800 MB", "2GiB".

    Raises:
        DataError: It is no size, or none over zero.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([KMGT]?)(I?)B?\s*", str(text).upper())
    units = _BINARY_UNITS if match and match[3] else _UNITS
    if match is None or match[2] not in units or not float(match[1]):
        raise DataError(f"A size of memory is a number with a unit, such as 2GB. Received: {text!r}")
    return int(float(match[1]) * units[match[2]])


def memory_text(size: float) -> str:
    """Bytes for a person: "2.1 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{math.ceil(size / 1e6)} MB"


def available_memory() -> int:
    """Bytes that this process can still take without swapping, within the limit of its container."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        try:  # Other Unix systems; what of it is in use is not known there.
            free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (AttributeError, ValueError, OSError):
            free = _UNKNOWN
    return min([free, *_container_room()])


def resident_memory() -> int:
    """Bytes of physical memory that this process occupies; 0 where the system does not say."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def memory_limit(size: int | None) -> Iterator[None]:
    """Within the block, files that would take this process over `size` bytes are refused by `check_claim`."""
    token = _limit.set(size)
    try:
        yield
    finally:
        _limit.reset(token)


def check_claim(path: PathLike, says: str, needed: int, stored: int, held: float) -> None:
    """Checks what a header promises before memory is taken for it: the rule of all readers.

    Args:
        path: The file.
        says: What its header says that it holds: "512 x 512 x 300 voxels".
        needed: Bytes of memory that this takes.
        stored: Bytes that the file must hold for it, before compression.
        held: Bytes that the file can hold at most, by the best compression of its format.

    Raises:
        DataError: The file is too small to hold so much, or there is not so much memory.
    """
    if stored > held:
        size = pathlib.Path(path).stat().st_size
        raise DataError(
            f"{path} is broken or cut off (its header says {says}, and the file has {size} bytes). "
            "Copy or download it again."
        )
    room, limit = available_memory(), _limit.get()
    if limit is not None:
        room = min(room, max(limit - resident_memory(), 0))
    if needed > room:
        own = "" if limit is None else f" (the program itself has {memory_text(resident_memory())})"
        raise DataError(
            f"{memory_text(room)} of memory are too little for {path}: its {says} take "
            f"{memory_text(needed)}. Cut it, or allow more memory{own}."
        )


def _container_room() -> Iterator[int]:
    """What the limits of the control groups (versions 2 and 1) leave; empty without one."""
    for folder, limit, usage, cache in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache"),
    ):
        try:
            most, used = (int(pathlib.Path(folder, name).read_text()) for name in (limit, usage))
            stat = pathlib.Path(folder, "memory.stat").read_text()
            # Files that the system keeps in memory count as used, but give way.
            cached = next(int(line.split()[1]) for line in stat.splitlines() if line.split()[0] == cache)
        except (OSError, ValueError, StopIteration):  # No such group, or its limit is "max".
            continue
        yield max(most - used + cached, 0)
