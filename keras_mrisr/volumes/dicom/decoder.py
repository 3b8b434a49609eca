"""Decodes compressed DICOM files: a program of its own, because a decoder may take its process with it.

It needs nothing of this package. From standard input it takes files, each behind its length (8 bytes, little
endian); to standard output it writes for each a line of JSON, {"dtype", "shape"} or {"error"}, and behind the
former the pixels.
"""

import io
import json
import os
import struct
import sys
import warnings
from typing import Any


def decode(content: bytes) -> Any:
    """The pixels of a DICOM file: (rows, columns) or (frames, rows, columns).

    Raises:
        RuntimeError: With what a decoder raised, be it no Exception (a panic of a native one).
    """
    import pydicom

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(io.BytesIO(content), force=True).pixel_array
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        first_line = next(iter(str(error).strip().splitlines()), "")
        raise RuntimeError(first_line or type(error).__name__) from error


def main() -> None:
    """Decodes files until there are no more."""
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Decoders print.
    while head := source.read(8):
        content = source.read(struct.unpack("<Q", head)[0])
        try:
            pixels = decode(content)
            answer = {"dtype": pixels.dtype.str, "shape": pixels.shape}
        except RuntimeError as error:
            pixels, answer = None, {"error": str(error)}
        target.write(json.dumps(answer).encode() + b"\n")
        if pixels is not None:
            target.write(pixels.tobytes())
        target.flush()


if __name__ == "__main__":
    main()
