"""Whether images look like the originals as a set: power spectrum, KID and Fréchet distance."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mrisr.data.slices import evenly_spaced
from keras_mrisr.errors import ConfigError
from keras_mrisr.evaluation.protocol import finite_or_none
from keras_mrisr.evaluation.scores import TISSUE
from keras_mrisr.evaluation.slices import SliceImages
from keras_mrisr.evaluation.statistics import LEAST_PATIENTS, bootstrap_interval
from keras_mrisr.metrics.distributions import frechet_distance, kid_of_kernels, polynomial_kernel
from keras_mrisr.metrics.spectrum import BANDS, largest_error, power_spectrum, spectrum_error

PATCH = 64
LEAST_TISSUE = 0.5
MOST_PATCHES = 4000
"""Of a method; the kernel has the square of it."""
_HR = "HR"
_BATCH = 32

SPECTRUM = {"spectrum_75": (0.75, "spectrum to 3/4"), "spectrum_100": (1.0, "spectrum to Nyquist")}
DEFAULT_LAYERS = "block4"
"""Its last convolution. In LGG slices it told SR from HR the most, next to how patients differ in it."""


@dataclasses.dataclass(frozen=True)
class RealismScore:
    """One number of one method over all patients.

    Attributes:
        method: The method.
        measure: "spectrum_75", "spectrum_100" (largest error of the power spectrum in dB up to 3/4 of the
            Nyquist frequency, or all of it), "kid" or "fd".
        network: Name of the feature network; empty for the spectrum.
        value: The number; smaller is better.
        low: Lower end of its 95 % interval over patients; nan under three patients.
        high: Upper end.
    """

    method: str
    measure: str
    network: str
    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Realism:
    """Whether the images of methods look like the originals, as a set.

    Attributes:
        channel: The set of channels: the last one scored (FLAIR in LGG).
        patients: Number of patients.
        images: Number of slices.
        patch: Edge of the patches in pixels.
        patches: Number of patches of a method; 0 without a feature network.
        spectra: Method -> power beside that of HR in dB, band by band from 0 to the Nyquist frequency.
        scores: A `RealismScore` for each method, measure and network.
        definitions: Name of each measure -> how it is taken; part of the protocol.
    """

    channel: str
    patients: int
    images: int
    patch: int
    patches: int
    spectra: dict[str, tuple[float, ...]]
    scores: tuple[RealismScore, ...]
    definitions: dict[str, str]

    @property
    def columns(self) -> dict[tuple[str, str], str]:
        """(measure, network) -> its heading in tables."""
        keys = dict.fromkeys((one.measure, one.network) for one in self.scores)
        return {key: self._heading(*key) for key in keys}

    @staticmethod
    def _heading(measure: str, network: str) -> str:
        return f"{SPECTRUM[measure][1]} dB" if measure in SPECTRUM else f"{measure.upper()} {network}"

    def score(self, method: str, measure: str, network: str | None = None) -> RealismScore:
        """The `RealismScore` of a method; of the first network by default.

        Raises:
            ConfigError: There is none.
        """
        for one in self.scores:
            if (one.method, one.measure) == (method, measure) and network in (None, one.network):
                return one
        raise ConfigError(f"No {measure} of {method!r} was taken. See the rows of .scores.")

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values; None for what is not finite."""
        values = dataclasses.asdict(self)
        values["spectra"] = {name: [*map(finite_or_none, dB)] for name, dB in self.spectra.items()}
        ends = ("value", "low", "high")
        values["scores"] = [
            {key: finite_or_none(value) if key in ends else value for key, value in row.items()}
            for row in values["scores"]
        ]
        return values


class RealismCollector:
    """Gathers spectra and features while slices are scored.

    Args:
        networks: Name -> `FeatureNetwork`; none for the spectrum alone.
        bands: Number of bands of the spectrum.
        patch: Edge of the patches whose features are taken, in pixels.
    """

    def __init__(self, networks: Mapping[str, Any], bands: int = BANDS, patch: int = PATCH) -> None:
        self.networks, self.bands, self.patch = dict(networks), bands, patch
        self._channel = ""
        self._images: collections.Counter[str] = collections.Counter()
        self._powers: dict[str, dict[str, Any]] = {}
        self._features: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in self.networks}
        self._owners: list[str] = []

    def add(self, images: SliceImages) -> None:
        """Takes in a slice with what every method made of it."""
        self._channel, part = list(images.groups.items())[-1]
        planes = {_HR: images.hr[..., part], **{name: one[..., part] for name, one in images.images.items()}}
        patient = images.record.patient
        self._images[patient] += 1
        sums = self._powers.setdefault(patient, {})
        for name, power in zip(planes, power_spectrum(np.stack([*planes.values()]), self.bands), strict=True):
            sums[name] = sums.get(name, 0) + power
        if self.networks:
            self._add_patches(planes, images.masks[TISSUE], patient)

    def _add_patches(self, planes: Mapping[str, np.ndarray], tissue: Any, patient: str) -> None:
        size = self.patch = min(self.patch, *tissue.shape)
        corners = [
            (y, x)
            for y in range(0, tissue.shape[0] - size + 1, size)
            for x in range(0, tissue.shape[1] - size + 1, size)
            if tissue[y : y + size, x : x + size].mean() >= LEAST_TISSUE
        ]
        self._owners += [patient] * len(corners)
        if not corners:
            return
        cut = np.stack([plane[y : y + size, x : x + size] for plane in planes.values() for y, x in corners])
        for name, network in self.networks.items():
            features = np.split(_pooled(network, cut), len(planes))
            for method, own in zip(planes, features, strict=True):
                self._features[name].setdefault(method, []).append(own)

    def result(self) -> Realism:
        """The measures of all that was added."""
        patients = list(self._powers)
        methods = [name for name in self._powers[patients[0]] if name != _HR]
        powers = {name: np.array([self._powers[one][name] for one in patients]) for name in (_HR, *methods)}
        everyone = np.ones(len(patients), bool)
        spectra = {method: _error(powers, method, everyone) for method in methods}
        scores = [
            _score(method, measure, "", len(patients), _largest(powers, method, up_to))
            for measure, (up_to, _) in SPECTRUM.items()
            for method in methods
        ]
        kept = [*evenly_spaced(len(self._owners), min(MOST_PATCHES, len(self._owners)))]
        if len(kept) >= 2:
            scores += self._scores_of_features(patients, kept)
        return Realism(
            channel=self._channel,
            patients=len(patients),
            images=sum(self._images.values()),
            patch=self.patch if self.networks else 0,
            patches=len(kept),
            spectra={method: tuple(error.tolist()) for method, error in spectra.items()},
            scores=tuple(scores),
            definitions=self._definitions(),
        )

    def _scores_of_features(self, patients: Sequence[str], kept: Sequence[int]) -> list[RealismScore]:
        """The scores of the patches that are kept, by each network."""
        owners = np.array([patients.index(self._owners[place]) for place in kept], int)
        scores = []
        for name, features in self._features.items():
            own = {method: np.concatenate(each)[kept] for method, each in features.items()}
            scores += _feature_scores(name, own, owners, len(patients))
        return scores

    def _definitions(self) -> dict[str, str]:
        found = {
            "spectrum": f"mean power of SR over slices beside that of HR, {self._channel}, in {self.bands} "
            "bands of equal width from 0 to the Nyquist frequency; largest absolute value in dB"
        }
        for name, network in self.networks.items():
            found[f"KID and FD {name}"] = (
                "unbiased MMD² with the kernel (x·y/d + 1)³ (Binkowski et al. 2018) and Fréchet distance "
                f"(Heusel et al. 2017) of features of {network.network} {', '.join(network.layers)}, weights "
                f"{network.weights or 'random'}, averaged over patches of {self.patch} px on a grid that are "
                f"at least half tissue, divided by the root mean square of the originals', {self._channel}"
            )
        found["intervals of these"] = "from jackknife pseudo-values of patients, BCa bootstrap as above"
        return found


def named_networks(words: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Builds the feature networks that arguments of `build_features` name: name -> `FeatureNetwork`.

    A network is called by its weight file; two of one file name have numbers.
    """
    from keras_mrisr.models.features import build_features

    found: dict[str, Any] = {}
    for one in words:
        network = build_features(**{"layers": DEFAULT_LAYERS, **one})
        weights = pathlib.Path(network.weights or "random").stem
        # "features.h5" is what every fine-tuning writes: its folder says more.
        name = pathlib.Path(str(network.weights)).resolve().parent.name if weights == "features" else weights
        found[name if name not in found else f"{name} {len(found) + 1}"] = network
    return found


def _pooled(network: Any, patches: np.ndarray) -> np.ndarray:
    """Features of patches uint8 (N, h, w, C), averaged over places: (N, d)."""
    values = []
    for start in range(0, len(patches), _BATCH):
        features = network(patches[start : start + _BATCH] / np.float32(255))
        values.append(np.concatenate([np.asarray(one).mean(axis=(1, 2)) for one in features], axis=1))
    return np.concatenate(values)


def _error(powers: Mapping[str, np.ndarray], method: str, chosen: np.ndarray) -> np.ndarray:
    return spectrum_error(powers[_HR][chosen].sum(axis=0), powers[method][chosen].sum(axis=0))


def _largest(powers: Mapping[str, np.ndarray], method: str, up_to: float) -> Callable[[np.ndarray], float]:
    return lambda chosen: largest_error(_error(powers, method, chosen), up_to)


def _feature_scores(
    network: str, features: Mapping[str, np.ndarray], owners: np.ndarray, patients: int
) -> list[RealismScore]:
    # Networks and layers differ in scale, and the cubic kernel with it by far more.
    scale = np.sqrt(np.mean(np.square(features[_HR].astype(float)))) or 1.0
    features = {method: own / scale for method, own in features.items()}
    hr = features[_HR]
    within = polynomial_kernel(hr, hr)
    scores = []
    for method, sr in features.items():
        if method == _HR:
            continue
        kernels = within, polynomial_kernel(sr, sr), polynomial_kernel(hr, sr)
        scores.append(_score(method, "kid", network, patients, _kid(kernels, owners)))
        scores.append(_score(method, "fd", network, patients, _frechet(hr, sr, owners)))
    return sorted(scores, key=lambda one: one.measure, reverse=True)


def _kid(kernels: tuple[np.ndarray, ...], owners: np.ndarray) -> Callable[[np.ndarray], float]:
    def of(chosen: np.ndarray) -> float:
        places = np.flatnonzero(chosen[owners])
        if len(places) < 2:
            return float("nan")
        return kid_of_kernels(*(kernel[np.ix_(places, places)] for kernel in kernels))

    return of


def _frechet(hr: np.ndarray, sr: np.ndarray, owners: np.ndarray) -> Callable[[np.ndarray], float]:
    def of(chosen: np.ndarray) -> float:
        places = np.flatnonzero(chosen[owners])
        return frechet_distance(hr[places], sr[places]) if len(places) >= 2 else float("nan")

    return of


def _score(
    method: str, measure: str, network: str, patients: int, statistic: Callable[[np.ndarray], float]
) -> RealismScore:
    """A number of all patients, and its interval.

    It is no mean over patients, so what each of them adds to it is its pseudo-value: n times the number less
    (n - 1) times that of the others (Tukey's jackknife). Their mean has the interval.
    """
    everyone = np.ones(patients, bool)
    value = statistic(everyone)
    low = high = float("nan")
    if patients >= LEAST_PATIENTS:
        others = np.array([statistic(everyone & (np.arange(patients) != one)) for one in range(patients)])
        pseudo = patients * value - (patients - 1) * others
        if np.isfinite(pseudo).all():
            shift = value - pseudo.mean()
            low, high = (end + shift for end in bootstrap_interval(pseudo))
    least = -np.inf if measure == "kid" else 0.0
    return RealismScore(method, measure, network, value, float(np.maximum(low, least)), high)
