#!/usr/bin/env bash
# Bicubic resizing of a 16-bit image in Pillow, beside the same values as floats, clipped at the end.
#
# Pillow 13.0.0, NumPy 2.3.5.
# From memory: integers are computed wide and clipped once, so the two differ by the rounding.
# Seen: each of the two passes (rows, columns) clips to 0 to 65535 and rounds, in mode I;16 as in mode L. Overshoot of the first pass, which the
# second would take back, is lost: 9 % of the range on a checkerboard of noise. Far from both ends of the range the two agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
I;16, 0 and 65535: largest difference 5652
L, 0 and 255: largest difference 21.9
I;16, 10000 and 42000: largest difference 1.1
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 pillow==13.0.0
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import numpy as np
from PIL import Image

bits = np.random.default_rng(0).random((16, 16)) > 0.5


def compare(dtype, low, high, digits):
    image = np.where(bits, high, low).astype(dtype)
    of_integers = np.asarray(Image.fromarray(image).resize((32, 32), Image.BICUBIC)).astype(float)
    of_floats = np.asarray(Image.fromarray(image.astype("float32")).resize((32, 32), Image.BICUBIC))
    most = np.abs(of_integers - np.clip(of_floats, 0, np.iinfo(dtype).max)).max()
    mode = "I;16" if dtype == "uint16" else "L"
    print(f"{mode}, {low} and {high}: largest difference {most:.{digits}f}")


compare("uint16", 0, 65535, 0)
compare("uint8", 0, 255, 1)
compare("uint16", 10000, 42000, 1)
PYTHON
cat seen
diff expected seen && echo "As described."
