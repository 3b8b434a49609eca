"""PSNR and SSIM of single images, by channel and region."""

import collections
import dataclasses
import pathlib

import numpy as np

WHOLE, TISSUE = "whole", "tissue"
REGIONS = (WHOLE, TISSUE)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageScore:
    """One row of `per_image.csv`.

    Attributes:
        path: The HR slice.
        patient: Whose it is.
        index: Its position in the patient's stack.
        method: "nearest", "bicubic", "lanczos" or "SR".
        channel: "RGB" and "FLAIR" ("green" where the data isn't LGG), or "grey".
        region: "whole" or "tissue".
        psnr: In dB; `inf` for equal images, `nan` without a pixel in the region.
        ssim: At most 1; `nan` without a pixel in the region.
    """

    path: pathlib.Path
    patient: str
    index: int
    method: str
    channel: str
    region: str
    psnr: float
    ssim: float


def channel_groups(channels, kind):
    """Which channels are scored together: name -> slice of the channel axis.

    LGG's channel 1 is FLAIR; it is scored beside all three, because in some patients a missing sequence
    was filled with a copy of FLAIR, which would count twice.
    """
    if channels == 1:
        return {"grey": slice(0, 1)}
    middle = channels // 2
    names = ("all", f"channel {middle}")
    if channels == 3:
        names = ("RGB", "FLAIR" if kind == "lgg" else "green")
    return {names[0]: slice(0, channels), names[1]: slice(middle, middle + 1)}


def score_batch(hr, sr, masks, groups):
    """Scores a batch against its originals.

    Args:
        hr: Array (N, H, W, C), uint8.
        sr: Array of the same shape, uint8.
        masks: Tissue masks (N, H, W), bool.
        groups: What `channel_groups` gives.

    Returns:
        Dict (channel, region) -> (psnr, ssim), two arrays (N,) each.
    """
    from keras import ops

    from keras_mrisr.metrics import psnr, ssim_map
    from keras_mrisr.metrics.image_pairs import masked_mean
    from keras_mrisr.metrics.ssim import BORDER

    hr, sr = (np.asarray(x, dtype="float32") / np.float32(255) for x in (hr, sr))
    # The map is the costly part, and serves every channel and region.
    similarity = ssim_map(hr, sr, 1.0)
    masks = np.asarray(masks, dtype="float32")
    scores = {}
    for channel, part in groups.items():
        for region, mask in ((WHOLE, None), (TISSUE, masks)):
            inner = None if mask is None else mask[:, BORDER:-BORDER, BORDER:-BORDER]
            scores[channel, region] = (
                ops.convert_to_numpy(psnr(hr[..., part], sr[..., part], 1.0, mask=mask)),
                ops.convert_to_numpy(masked_mean(similarity[..., part], inner)),
            )
    return scores


def choose_cases(scores, count=3, how="quality", method="SR", channel=None, region=TISSUE):
    """Picks images to show.

    Args:
        scores: `ImageScore`s.
        count: How many images; fewer when there are fewer patients.
        how: "quality": from the patient with the lowest mean PSNR of `method` to the one with the
            highest (three: worst, median, best), and of each the image nearest to its own median
            in the middle half of the stack (the ends show little).
            "even": patients evenly spread in order, the middle image of each.
        method: Whose PSNR counts.
        channel: Whose channel; the last one scored (FLAIR) by default.
        region: Whose region; images without a finite PSNR in it are not chosen.

    Returns:
        List of (label, path).
    """
    channel = channel or scores[-1].channel
    stacks = collections.defaultdict(list)
    for score in scores:
        wanted = (score.method, score.channel, score.region) == (method, channel, region)
        if wanted and np.isfinite(score.psnr):
            stacks[score.patient].append(score)
    if not stacks or count < 1:
        return []
    if how == "quality":
        patients = sorted(stacks, key=lambda p: np.mean([score.psnr for score in stacks[p]]))
    else:
        patients = sorted(stacks)
    places = np.unique(np.linspace(0, len(patients) - 1, min(count, len(patients))).round().astype(int))
    cases = []
    for place in places:
        stack = stacks[patients[place]]
        if how == "quality":
            middle = np.median([score.psnr for score in stack])
            inner = stack[len(stack) // 4 : len(stack) - len(stack) // 4]
            chosen = min(inner, key=lambda score: abs(score.psnr - middle))
            label = _rank(place, len(patients))
        else:
            chosen, label = stack[len(stack) // 2], ""
        words = (chosen.patient, f"slice {chosen.index}", label)
        cases.append((" · ".join(word for word in words if word), chosen.path))
    return cases


def _rank(place, number):
    if number == 1:
        return ""
    names = {0: "worst patient", number - 1: "best patient", round((number - 1) / 2): "median patient"}
    return names.get(place, f"patient {place + 1} of {number}, worst first")
