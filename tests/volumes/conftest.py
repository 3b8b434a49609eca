"""Synthetic DICOM series."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _decimals(values):
    return [pydicom.valuerep.DSfloat(float(value), auto_format=True) for value in values]


def _header(shape, affine, place, uid, dtype, **tags):
    """A classic MR header for slice `place` of an array (column, row, slice) with a RAS affine."""
    lps = LPS @ affine
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = "1.2.3"
    dataset.SeriesInstanceUID = uid
    dataset.FrameOfReferenceUID = "1.2.3.4"
    dataset.Modality = "MR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.PatientName = "Phantom^Round"
    dataset.PatientID = "P1"
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "O"
    dataset.PatientWeight = "70"
    dataset.StudyDate = "20200101"
    dataset.SeriesNumber = 3
    dataset.SeriesDescription = "t1 phantom"
    dataset.InstanceNumber = place + 1
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimals([np.linalg.norm(lps[:3, 2])])[0]
    dataset.ImagePositionPatient = _decimals(lps[:3, 3] + place * lps[:3, 2])
    axes = lps[:3, :2] / np.linalg.norm(lps[:3, :2], axis=0)
    dataset.ImageOrientationPatient = _decimals(axes.T.ravel())
    dataset.PixelSpacing = _decimals(np.linalg.norm(lps[:3, [1, 0]], axis=0))
    dataset.SliceLocation = _decimals([dataset.ImagePositionPatient[2]])[0]
    dataset.Rows, dataset.Columns = shape[1], shape[0]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(dtype.kind == "i")
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    if "BitsStored" in tags:
        dataset.HighBit = dataset.BitsStored - 1
    return dataset


def _save(dataset, path, syntax=ExplicitVRLittleEndian):
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    compressed = syntax.is_compressed
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if compressed else syntax
    dataset["PixelData"].VR = "OW"
    if compressed:
        dataset.compress(syntax, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def dicom_series():
    """A function that writes stored integers (column, row, slice) with a RAS affine as a series.

    Args: folder, array, affine; `syntax`; `tags` for all slices; `slices`: {place: tags of that slice}.
    Returns the paths in the order of the slices; on the disk their names are in reverse.
    """

    def write(folder, array, affine, syntax=ExplicitVRLittleEndian, slices=None, uid=None, **tags):
        uid = uid or generate_uid()
        paths = []
        for place in range(array.shape[2]):
            own = {**tags, **(slices or {}).get(place, {})}
            dataset = _header(array.shape, affine, place, uid, array.dtype, **own)
            order = ">" if not syntax.is_little_endian else "<"
            pixels = np.ascontiguousarray(array[:, :, place].T)
            dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
            paths.append(folder / f"image{999 - place}")
            _save(dataset, paths[-1], syntax)
        return paths

    return write


@pytest.fixture
def edit_dicom():
    """A function (path, function of the data set) that changes a file."""

    def edit(path, change):
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)

    return edit


@pytest.fixture
def enhanced_series():
    """A function that writes stored integers (column, row, slice[, time]) as one Enhanced MR file."""

    def write(path, array, affine, slope=1.0, intercept=0.0, shared_rescale=True, **tags):
        array = array[..., np.newaxis] if array.ndim == 3 else array
        top = _header(array.shape, affine, 0, generate_uid(), array.dtype)
        slices = [_header(array.shape, affine, place, "", array.dtype) for place in range(array.shape[2])]
        shared, frames = pydicom.Dataset(), []
        measures, orientation, frame_type = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        for keyword in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
            setattr(measures, keyword, top[keyword].value)
        orientation.ImageOrientationPatient = top.ImageOrientationPatient
        frame_type.FrameType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
        shared.PixelMeasuresSequence = [measures]
        shared.PlaneOrientationSequence = [orientation]
        shared.MRImageFrameTypeSequence = [frame_type]
        rescale = pydicom.Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope, intercept, "US"
        if shared_rescale:
            shared.PixelValueTransformationSequence = [rescale]
        for time in range(array.shape[3]):
            for place, one in enumerate(slices):
                frame, position, content = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
                position.ImagePositionPatient = one.ImagePositionPatient
                content.StackID, content.InStackPositionNumber = "1", place + 1
                content.TemporalPositionIndex = time + 1
                content.DimensionIndexValues = [1, place + 1, time + 1]
                frame.PlanePositionSequence, frame.FrameContentSequence = [position], [content]
                if not shared_rescale:
                    frame.PixelValueTransformationSequence = [rescale]
                frames.append(frame)
        for keyword in (
            "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness",
            "SpacingBetweenSlices", "SliceLocation",
        ):  # fmt: skip
            delattr(top, keyword)
        top.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
        top.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
        top.SharedFunctionalGroupsSequence = [shared]
        top.PerFrameFunctionalGroupsSequence = frames
        top.NumberOfFrames = len(frames)
        for keyword, value in tags.items():
            setattr(top, keyword, value)
        top.PixelData = np.ascontiguousarray(array.transpose(3, 2, 1, 0)).tobytes()
        _save(top, path)
        return path

    return write


@pytest.fixture
def oblique():
    """A RAS affine of sagittal slices, turned about two axes, with three different spacings."""
    a, b = np.deg2rad(12), np.deg2rad(-7)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    # Rows run to posterior, columns to inferior, and slices along the normal: to the right.
    axes = about_z @ about_x @ np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    affine = np.eye(4)
    affine[:3, :3] = axes * (0.8, 0.9, 4.5)
    affine[:3, 3] = (31.5, 80.25, 120.125)
    return affine


@pytest.fixture
def axial():
    """A RAS affine of straight axial slices, as DICOM has them: left, posterior, superior."""
    affine = np.diag([-0.75, -0.75, 3.0, 1.0])
    affine[:3, 3] = (90, 110, -20)
    return affine


@pytest.fixture
def phantom():
    """A function that samples three blobs, given in world coordinates, at the voxels of an affine.

    The blobs lie at fixed fractions of the box, so that every grid of the same extent has them.
    """

    def sample(shape, affine, top=900.0):
        shape = np.array(shape)
        centres = [affine @ [*(shape * part - 0.5), 1] for part in ((0.4, 0.5, 0.45), (0.6, 0.3, 0.6))]
        width = 0.13 * np.linalg.norm(affine[:3, :3] @ np.diag(shape), axis=0).max()
        index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
        world = index @ affine[:3, :3].T + affine[:3, 3]
        blobs = [np.exp(-((world - centre[:3]) ** 2).sum(-1) / (2 * width**2)) for centre in centres]
        return top * (blobs[0] + 0.5 * blobs[1])

    return sample
