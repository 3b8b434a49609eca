"""Whether a TIFF is all there, found out without decoding it."""

import struct

_TYPES = {  # Codes of the field types as `struct` knows them; fractions are pairs of integers.
    1: "B", 2: "s", 3: "H", 4: "I", 5: "Q", 6: "b", 7: "s", 8: "h", 9: "i", 10: "Q", 11: "f", 12: "d",
    13: "I", 16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
# Offsets and byte counts of what pixels are stored in: strips or tiles.
_PIXELS = ((273, 279), (324, 325))


def is_complete_tiff(content: bytes) -> bool:
    """Whether a TIFF reaches the end of its first page: of the directory, its values and the pixels.

    Most writers put the directory after the pixels. Decoders find out, too, what is missing, but warn about
    it in ways of their own before they give up.

    Args:
        content: The file, known to begin as a TIFF or BigTIFF.
    """
    order = "<" if content.startswith(b"II") else ">"
    big = b"+" in content[:4]
    offset, number, start = ("Q", "Q", 8) if big else ("I", "H", 4)
    entry, field = struct.Struct(f"{order}HH{offset}"), struct.calcsize(offset)

    def read(kind, place, count=1):
        return struct.unpack_from(f"{order}{count}{kind}", content, place)

    try:
        [place] = read(offset, start)
        [entries] = read(number, place)
        place += struct.calcsize(number)
        values = {}
        for _ in range(entries):
            tag, kind, count = entry.unpack_from(content, place)
            place += entry.size
            if kind in _TYPES:
                fits = count * struct.calcsize(_TYPES[kind]) <= field
                values[tag] = read(_TYPES[kind], place if fits else read(offset, place)[0], count)
            place += field
        read(offset, place)  # Where the next page is.
    except struct.error:
        return False
    for offsets, counts in _PIXELS:
        parts = zip(values.get(offsets, ()), values.get(counts, ()), strict=False)
        if any(first + size > len(content) for first, size in parts):
            return False
    return True
