"""The headers and pixels of a series that is derived from another."""

import copy
import dataclasses
import datetime
import functools
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from keras_mrisr.volumes.dicom.frames import Frame, number_of
from keras_mrisr.volumes.dicom.grid import slice_distance
from keras_mrisr.volumes.stored_values import IntegerStorage
from keras_mrisr.volumes.volume import Volume

_WRONG_DISTANCE = 0.1  # Of the distance between slices: headers and positions are rounded.
_FEW_STEPS = 64  # Between the darkest and the brightest value: no scan has as few.
_NUMBER_OFFSET = 1000  # New series numbers: far from those that a scanner gives.
# What describes the old pixels, and would be wrong for the new ones.
_STALE = (
    "IconImageSequence", "PixelAspectRatio", "ModalityLUTSequence", "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries", "SmallestImagePixelValueInPlane", "LargestImagePixelValueInPlane",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "DigitalSignaturesSequence", "MACParametersSequence",
    "DataSetTrailingPadding", "PixelPaddingValue", "PixelPaddingRangeLimit",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class NewSeries:
    """What all images of a result have in common.

    Attributes:
        volume: The result; its source is a `DicomSource`.
        low: The smallest value, in the sense of the file (MONOCHROME1 turned back).
        high: The largest.
        old_storage: How the source stored its values; None if not in one way.
        storage: How the result stores its own.
        uid: SeriesInstanceUID.
        now: When it was made.
    """

    volume: Volume
    low: float
    high: float
    old_storage: IntegerStorage | None
    storage: IntegerStorage
    uid: str
    now: datetime.datetime

    @classmethod
    def of(cls, volume: Volume) -> Self:
        """The series of a volume, with the storage that fits its values."""
        from pydicom.uid import generate_uid

        frames, turned = volume.source.frames, volume.source.turned
        low, high = float(volume.array.min()), float(volume.array.max())
        if volume.quantity is not None:
            storage = IntegerStorage(16, False).rescaled(low, high)
            return cls(volume, low, high, None, storage, generate_uid(), datetime.datetime.now())
        if turned is not None:
            low, high = turned - high, turned - low
        bits = max(int(frame.header.BitsStored) for frame in frames)
        signs = {frame.header.PixelRepresentation == 1 for frame in frames}
        signed = signs.pop() if len(signs) == 1 else low < 0
        rescales = {(frame.slope, frame.intercept) for frame in frames}
        if len(rescales) == 1:
            old = IntegerStorage(bits, signed, *rescales.pop())
            # MR images have 16 bits at most, but for a source that has more. In MONOCHROME1 the low end is
            # the bright one, which must not be clipped.
            storage = old.fitted(low, high, max(16, bits), keep_low=turned is not None)
            if _is_too_coarse(storage, volume.array, high - low):
                storage = dataclasses.replace(storage, bits=max(16, bits)).rescaled(low, high)
        else:
            old, storage = None, IntegerStorage(16, signed).rescaled(low, high)
        return cls(volume, low, high, old, storage, generate_uid(), datetime.datetime.now())

    @property
    def frames(self) -> Sequence[Frame]:
        """The frames of the source."""
        return self.volume.source.frames

    @property
    def slices(self) -> int:
        """How many slices the result has."""
        return self.volume.shape[2]

    @property
    def thinner(self) -> float:
        """How many of its slices are as thick as one of the source; plain 1 where they are the same."""
        return round(slice_distance(self.frames) / float(self.volume.spacing[2]), 6)

    @functools.cached_property
    def origins(self) -> list[int]:
        """Which frame of the source lies nearest to each slice."""
        normal = self.frames[0].normal
        heights = np.array([frame.position @ normal for frame in self.frames])
        return [int(np.abs(heights - self._centre(place) @ normal).argmin()) for place in range(self.slices)]

    def origin_of(self, place: int) -> Frame:
        """The frame of the source that lies nearest to a slice."""
        return self.frames[self.origins[place]]

    @property
    def keeps_slices(self) -> bool:
        """Whether each slice stands for an image of the source, and has its number."""
        whole = self.frames[0].corner is None  # A mosaic has one number for all its slices.
        return whole and self.thinner == 1 and len(set(self.origins)) == self.slices

    def pixels(self, place: int) -> np.ndarray:
        """The numbers to store for a slice, (rows, columns)."""
        values = self.volume.array[:, :, place].T
        if self.volume.quantity is None and self.volume.source.turned is not None:
            values = self.volume.source.turned - values.astype("float64")
        return self.storage.encode(values)

    def position(self, place: int) -> np.ndarray:
        """The centre of the first pixel of a slice, (3,) millimetres in LPS."""
        ras = self.volume.affine[:3, 3] + place * self.volume.affine[:3, 2]
        return ras * (-1, -1, 1)

    def _centre(self, place):
        """The middle of a slice, (3,) millimetres in LPS: wherever the array's corner may be."""
        columns, rows, _ = self.volume.shape
        return (self.volume.affine @ [(columns - 1) / 2, (rows - 1) / 2, place, 1])[:3] * (-1, -1, 1)

    @property
    def orientation(self) -> np.ndarray:
        """Direction cosines along a row and along a column, (6,) in LPS."""
        axes = (self.volume.affine[:3, :2] / self.volume.spacing[:2]).T
        return (axes * (-1, -1, 1)).ravel()

    @property
    def ascending(self) -> bool:
        """Whether the source numbers its images in the order of the array."""
        first, last = (self.origin_of(place).instance for place in (0, self.slices - 1))
        return first <= last


def _is_too_coarse(storage, array, span):
    """Whether values lie between few steps, such as those that were normalised to [0, 1] in Python."""
    if array.dtype.kind != "f" or span >= _FEW_STEPS * abs(storage.slope):
        return False
    steps = (array - storage.intercept) / storage.slope
    return bool(np.abs(steps - np.rint(steps)).max() > 0.01)


def slice_dataset(series: NewSeries, place: int) -> Any:
    """The data set of one slice in a file of its own."""
    frame = series.origin_of(place)
    dataset = derived_dataset(series, frame)
    dataset.SourceImageSequence = [source_reference(frame)]
    set_orientation(dataset, series)
    dataset.ImagePositionPatient = decimals(series.position(place))
    set_measures(dataset, series)
    if not series.keeps_slices:
        dataset.InstanceNumber = place + 1 if series.ascending else series.slices - place
        if "SliceLocation" in dataset:
            dataset.SliceLocation = decimal(series.position(place) @ frame.normal)
    pixels = series.pixels(place)
    vr = "SS" if series.storage.signed else "US"
    for keyword, value in (
        ("SmallestImagePixelValue", pixels.min()),
        ("LargestImagePixelValue", pixels.max()),
    ):
        if keyword in dataset:
            dataset.add_new(keyword, vr, int(value))
    if changes_rescale(series) or "RescaleSlope" in dataset:
        set_rescale(dataset, series)
    if series.volume.quantity is not None:
        set_window(dataset, series)
    set_pixels(dataset, pixels.tobytes())
    return dataset


def derived_dataset(series: NewSeries, frame: Frame) -> Any:
    """A copy of a header with what is the same in single- and multi-frame images changed.

    Private elements go: what they say of the old pixels (Philips's scaling, Siemens's matrix) would be
    wrong for the new ones, and nobody else can tell which of them do.
    """
    from pydicom.uid import generate_uid

    dataset = copy.deepcopy(frame.header)
    dataset.remove_private_tags()
    for tag in list(dataset.keys()):
        if tag.group & 0xFF00 == 0x6000:
            del dataset[tag]  # Overlays, drawn on the old grid.
    for keyword in _STALE:
        if keyword in dataset:
            del dataset[keyword]
    drop_old_mapping(dataset, series)

    dataset.ImageType = derived_type(dataset.get("ImageType"))
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = series.uid
    dataset.SeriesNumber = _NUMBER_OFFSET + int(number_of(dataset, "SeriesNumber", 0))
    dataset.SeriesDescription = _series_description(series, str(dataset.get("SeriesDescription") or ""))
    dataset.DerivationDescription = derivation_description(series, dataset)
    dataset.DerivationCodeSequence = [derivation_code()]
    date, time = series.now.strftime("%Y%m%d"), series.now.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate = dataset.ContentDate = date
    dataset.InstanceCreationTime = dataset.ContentTime = time

    if "ImagesInAcquisition" in dataset and series.slices != len(series.frames):
        dataset.ImagesInAcquisition = series.slices
    dataset.Rows, dataset.Columns = series.volume.shape[1], series.volume.shape[0]
    storage = series.storage
    dataset.BitsAllocated = 8 * storage.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = storage.bits, storage.bits - 1
    dataset.PixelRepresentation = int(storage.signed)
    if series.volume.quantity is not None:
        dataset.PhotometricInterpretation = "MONOCHROME2"
        if "PresentationLUTShape" in dataset:
            dataset.PresentationLUTShape = "IDENTITY"  # INVERSE goes with MONOCHROME1.
    return dataset


def drop_old_mapping(item: Any, series: NewSeries) -> None:
    """Deletes what maps stored values to real ones, from a header or a group, where they are stored again."""
    if series.storage != series.old_storage and "RealWorldValueMappingSequence" in item:
        del item.RealWorldValueMappingSequence


def derivation_description(series: NewSeries, item: Any) -> str:
    """What was done to the source before, and now."""
    texts = (str(item.get("DerivationDescription") or ""), _ascii(series.volume.description))
    return "; ".join(text for text in texts if text)[:1024] or "Super-resolution"


def derived_type(image_type: Sequence[str] | None, second: str = "SECONDARY") -> list[str]:
    """An ImageType that says that the pixels were computed, and keeps what they show."""
    kept = [str(value) for value in (image_type or ())[2:] if value != "MOSAIC"]
    return ["DERIVED", second, *kept]


def derivation_code() -> Any:
    """The coded form of what was done (DICOM PS3.16, CID 7203)."""
    return _code("113085", "Spatial resampling")


def source_reference(frame: Frame) -> Any:
    """An item that points to an image of the source."""
    import pydicom

    item = pydicom.Dataset()
    item.ReferencedSOPClassUID = frame.header.SOPClassUID
    item.ReferencedSOPInstanceUID = frame.header.SOPInstanceUID
    if frame.number is not None:
        item.ReferencedFrameNumber = frame.number + 1
    item.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation")]
    return item


def set_orientation(item: Any, series: NewSeries) -> None:
    """Sets the directions of rows and columns in a header or a functional group."""
    item.ImageOrientationPatient = decimals(series.orientation)


def set_measures(item: Any, series: NewSeries) -> None:
    """Sets the pixel spacing, and what the slices' distance changes, in a header or a functional group."""
    item.PixelSpacing = decimals(series.volume.spacing[[1, 0]])
    thickness = series.volume.slice_thickness or number_of(item, "SliceThickness", 0.0) / series.thinner
    if thickness and series.thinner != 1:
        item.SliceThickness = decimal(thickness)
    said, distance = number_of(item, "SpacingBetweenSlices", 0.0), slice_distance(series.frames)
    wrong = abs(abs(said) - distance) > _WRONG_DISTANCE * distance
    if said and (wrong or series.thinner != 1):
        item.SpacingBetweenSlices = decimal((distance if wrong else said) / series.thinner)
    elif not said and thickness and (series.slices == 1 or series.volume.slice_thickness):
        # Without a neighbour, readers (ITK, highdicom) take nothing else, not even the thickness.
        item.SpacingBetweenSlices = decimal(series.volume.spacing[2])


def set_rescale(item: Any, series: NewSeries) -> None:
    """Sets the rescale in a header or a functional group."""
    item.RescaleSlope = decimal(series.storage.slope)
    item.RescaleIntercept = decimal(series.storage.intercept)
    if not item.get("RescaleType"):
        item.RescaleType = "US"  # Unspecified.


def changes_rescale(series: NewSeries) -> bool:
    """Whether the values need a rescale."""
    return (series.storage.slope, series.storage.intercept) != (1.0, 0.0)


def set_window(item: Any, series: NewSeries) -> None:
    """Sets the window to all values, for a quantity of which the source's window knows nothing."""
    for keyword in ("VOILUTSequence", "VOILUTFunction", "WindowCenterWidthExplanation"):
        if keyword in item:
            del item[keyword]
    item.WindowCenter = decimal((series.low + series.high) / 2)
    item.WindowWidth = decimal(max(series.high - series.low, series.storage.slope))


def set_pixels(dataset: Any, content: bytes) -> None:
    """Sets uncompressed pixels."""
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"


def decimal(value: float) -> Any:
    """A number as DICOM's text of at most 16 characters."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(value) + 0.0, auto_format=True)  # + 0.0 makes -0.0 a plain zero.


def decimals(values: Iterable[float]) -> list:
    """Numbers as DICOM's texts."""
    return [decimal(value) for value in values]


def _series_description(series, old):
    """At most 64 characters, of which the new ones matter most."""
    new = f" {_ascii(series.volume.quantity)}" if series.volume.quantity else ""
    new = f" SR{new}"[:64]
    return (old[: 64 - len(new)] + new).strip()


def _code(value, meaning):
    import pydicom

    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _ascii(text):
    """Text that every character set of DICOM has; a backslash would part values."""
    return text.encode("ascii", "replace").decode().replace("\\", "/")
