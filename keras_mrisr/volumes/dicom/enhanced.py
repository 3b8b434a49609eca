"""Enhanced multi-frame MR images that are derived from another."""

import copy
from typing import Any

from keras_mrisr.volumes.dicom.derived import (
    NewSeries,
    changes_rescale,
    decimals,
    derivation_code,
    derivation_description,
    derived_dataset,
    derived_type,
    drop_old_mapping,
    set_measures,
    set_orientation,
    set_pixels,
    set_rescale,
    set_window,
    source_reference,
)
from keras_mrisr.volumes.dicom.frames import macro

_STACK_ID = (0x0020, 0x9056)
_IN_STACK = (0x0020, 0x9057)
_FRAME_CONTENT = (0x0020, 0x9111)


def enhanced_dataset(series: NewSeries) -> Any:
    """The data set of a whole result in one file."""
    import pydicom

    dataset = derived_dataset(series, series.frames[0])
    groups = [_frame_group(series, place) for place in range(series.slices)]
    if not dataset.get("SharedFunctionalGroupsSequence"):
        dataset.SharedFunctionalGroupsSequence = [pydicom.Dataset()]

    def share(name, keyword, change):
        _share(dataset, groups, name, keyword, change)

    share("PixelMeasuresSequence", "PixelSpacing", lambda item: set_measures(item, series))
    share("PlaneOrientationSequence", "ImageOrientationPatient", lambda item: set_orientation(item, series))
    rescale = ("PixelValueTransformationSequence", "RescaleSlope")
    if changes_rescale(series) or macro(dataset, groups[0], *rescale):
        share(*rescale, lambda item: set_rescale(item, series))
    if series.volume.quantity is not None:
        share("FrameVOILUTSequence", "WindowCenter", lambda item: set_window(item, series))
    for group in (*dataset.SharedFunctionalGroupsSequence, *groups):
        drop_old_mapping(group, series)
        for item in group.get("MRImageFrameTypeSequence") or ():
            item.FrameType = derived_type(item.get("FrameType"), "PRIMARY")
    # SECONDARY, as in single slices, is not allowed here (DICOM PS3.3, C.8.16.1.2).
    dataset.ImageType = derived_type(dataset.get("ImageType"), "PRIMARY")
    _set_dimensions(dataset)
    # Each frame says how it was derived; in an Enhanced file's own level these have no place.
    del dataset.DerivationDescription, dataset.DerivationCodeSequence
    dataset.SourceImageEvidenceSequence = [_evidence(series.frames[0].header)]
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.NumberOfFrames = series.slices
    set_pixels(dataset, b"".join(series.pixels(place).tobytes() for place in range(series.slices)))
    return dataset


def _frame_group(series, place):
    """The functional groups of one frame: the source's, with the new place and the reference to it."""
    import pydicom

    frame = series.origin_of(place)
    group = copy.deepcopy(frame.header.PerFrameFunctionalGroupsSequence[frame.number])
    group.remove_private_tags()
    position = pydicom.Dataset()
    position.ImagePositionPatient = decimals(series.position(place))
    group.PlanePositionSequence = [position]

    content = (group.get("FrameContentSequence") or [pydicom.Dataset()])[0]
    content.StackID = "1"
    content.InStackPositionNumber = place + 1
    content.DimensionIndexValues = [1, place + 1]
    group.FrameContentSequence = [content]

    before = (group.get("DerivationImageSequence") or [{}])[0]
    derivation = pydicom.Dataset()
    derivation.DerivationDescription = derivation_description(series, before)
    derivation.DerivationCodeSequence = [derivation_code()]
    derivation.SourceImageSequence = [source_reference(frame)]
    group.DerivationImageSequence = [derivation]
    return group


def _share(dataset, groups, name, keyword, change):
    """Makes a functional group one that all frames share, and changes it."""
    import pydicom

    item = copy.deepcopy(macro(dataset, groups[0], name, keyword)) or pydicom.Dataset()
    change(item)
    setattr(dataset.SharedFunctionalGroupsSequence[0], name, [item])
    for group in groups:
        if name in group:
            delattr(group, name)


def _set_dimensions(dataset):
    """Says that frames are told apart by their number in the stack, as their content has it."""
    import pydicom
    from pydicom.uid import generate_uid

    organization = pydicom.Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = []
    for pointer in (_STACK_ID, _IN_STACK):
        item = pydicom.Dataset()
        item.DimensionOrganizationUID = organization.DimensionOrganizationUID
        item.DimensionIndexPointer = pointer
        item.FunctionalGroupPointer = _FRAME_CONTENT
        dataset.DimensionIndexSequence.append(item)


def _evidence(header):
    """The study, series and image that the frames refer to."""
    import pydicom

    image, series, study = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    series.ReferencedSOPSequence = [image]
    series.SeriesInstanceUID = header.SeriesInstanceUID
    study.ReferencedSeriesSequence = [series]
    study.StudyInstanceUID = header.StudyInstanceUID
    return study
