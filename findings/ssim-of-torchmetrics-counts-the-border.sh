#!/usr/bin/env bash
# SSIM with the Gaussian window of 11x11 and sigma 1.5, which four libraries compute.
#
# torchmetrics 1.9.0, scikit-image 0.26.0, MONAI 1.6.1, piq 0.8.0.
# From memory: the same formula and the same window give the same number.
# Seen: scikit-image (Gaussian weights, population covariance), MONAI and piq average over the windows that lie inside the image; torchmetrics mirrors the
# image at its border and averages over every pixel. On a 32x32 image with an error in the middle, or at the rim, that is far
# apart. piq halves images of 384 pixels and more before it looks at them, unless downsample=False.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
error in the middle, 32x32: scikit-image 0.6734, MONAI 0.6734, piq 0.6734, torchmetrics 0.8456
error at the rim, 32x32: scikit-image 0.9774, MONAI 0.9774, piq 0.9774, torchmetrics 0.8483
noise, 512x512: scikit-image 0.1414, piq 0.4631, piq without downsampling 0.1414
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 scikit-image==0.26.0 torch==2.14.1 torchvision==0.29.1 torchmetrics==1.9.0 monai==1.6.1 piq==0.8.0
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import warnings

warnings.filterwarnings("ignore")
import monai.metrics
import numpy as np
import piq
import skimage.metrics
import torch
import torchmetrics.functional.image


def of_skimage(a, b):
    return skimage.metrics.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )


def tensor(image):
    return torch.as_tensor(image)[None, None]


y, x = np.mgrid[:32, :32]
image = 0.5 + 0.4 * np.sin(x / 3) * np.cos(y / 4)
middle, rim = image.copy(), image.copy()
middle[12:20, 12:20] = 0.1
rim[:3] = 0.1
for name, other in {"in the middle": middle, "at the rim": rim}.items():
    a, b = tensor(image), tensor(other)
    print(f"error {name}, 32x32: scikit-image {of_skimage(image, other):.4f}", end="")
    print(f", MONAI {float(monai.metrics.SSIMMetric(2, data_range=1.0)(b, a)):.4f}", end="")
    print(f", piq {float(piq.ssim(b, a, data_range=1.0)):.4f}", end="")
    of_torchmetrics = torchmetrics.functional.image.structural_similarity_index_measure(b, a, data_range=1.0)
    print(f", torchmetrics {float(of_torchmetrics):.4f}")
large = np.kron(image, np.ones((16, 16)))
noisy = np.clip(large + 0.1 * np.random.default_rng(1).standard_normal(large.shape), 0, 1)
a, b = tensor(large), tensor(noisy)
print(f"noise, 512x512: scikit-image {of_skimage(large, noisy):.4f}", end="")
print(f", piq {float(piq.ssim(b, a, data_range=1.0)):.4f}", end="")
print(f", piq without downsampling {float(piq.ssim(b, a, data_range=1.0, downsample=False)):.4f}")
PYTHON
cat seen
diff expected seen && echo "As described."
