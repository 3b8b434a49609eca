"""Series of several volumes: each slice of a volume comes from that volume, or the series is refused."""

import logging

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from keras_mrisr.errors import MrisrError
from keras_mrisr.volumes import read_volume

SHAPE = (12, 10, 6)  # columns, rows, slices
NUMBERS = range(SHAPE[2])


@pytest.fixture
def array(phantom, axial):
    return phantom(SHAPE, axial).astype("int16") + 10


def private(group, creator, offset, vr, values):
    """A function that gives the header of volume k a private element."""

    def change(dataset, k):
        dataset.private_block(group, creator, create=True).add_new(offset, vr, values[k])

    return change


def public(keyword, values):
    return lambda dataset, k: setattr(dataset, keyword, values[k])


# What tells two volumes apart, of which the second is brighter; names and numbers of the images say nothing.
KINDS = {
    "flip angle": public("FlipAngle", ["5", "15"]),
    "inversion time": public("InversionTime", ["150", "900"]),
    "trigger time": public("TriggerTime", ["0", "50"]),
    "echo time": public("EchoTime", ["5", "10"]),
    "repetition time": public("RepetitionTime", ["15", "500"]),
    "echo number": public("EchoNumbers", [1, 2]),
    "image type": public("ImageType", [["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]]),
    "first values of the image type": public(
        "ImageType", [["DERIVED", "SECONDARY"], ["ORIGINAL", "PRIMARY"]]
    ),
    "complex component": public("ComplexImageComponent", ["MAGNITUDE", "PHASE"]),
    "b-value": public("DiffusionBValue", [0.0, 1000.0]),
    "direction": public("DiffusionGradientOrientation", [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
    "opposite direction": public("DiffusionGradientOrientation", [[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]),
    "temporal position": public("TemporalPositionIdentifier", [1, 2]),
    "acquisition number": public("AcquisitionNumber", [1, 2]),
    "acquisition time": public("AcquisitionTime", ["095959.5", "100000.25"]),
    "acquisition date time": public("AcquisitionDateTime", ["20200101100000.10", "20200101100000.20"]),
    "content time": public("ContentTime", ["095959", "100000"]),
    "name of the sequence": public("SequenceName", ["ep_b0", "ep_b1000#1"]),
    "coil": public("ReceiveCoilName", ["HEA", "HEP"]),
    "Siemens's b-value": private(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", [0, 1000]),
    "Siemens's direction": private(
        0x0019, "SIEMENS MR HEADER", 0x0E, "FD", [[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]]
    ),
    "Philips's b-value": private(0x2001, "Philips Imaging DD 001", 0x03, "FL", [0.0, 1000.0]),
    "GE's b-value": private(0x0043, "GEMS_PARM_01", 0x39, "IS", [[1000000050, 8], [1000001000, 8]]),
}


def write(folder, dicom_series, array, axial, numbers, count=2):
    """`count` volumes in one series, the one brighter by 300 than the other; `numbers(k, place)`."""
    uid = generate_uid()
    paths = []
    for k in range(count):
        slices = {place: {"InstanceNumber": numbers(k, place)} for place in NUMBERS}
        paths.append(dicom_series(folder / f"{k}", array + 300 * k, axial, slices=slices, uid=uid))
    for place in NUMBERS:  # Names that follow no order.
        for k in range(count):
            paths[k][place] = paths[k][place].rename(folder / f"{place}{'abcd'[(k + place) % count]}")
    return paths


def check(folder, array, count=2):
    for k in range(count):
        np.testing.assert_array_equal(read_volume(folder, index=k).array, array + 300 * k)


@pytest.mark.parametrize("kind", KINDS)
def test_one_element_tells_two_volumes_apart(tmp_path, dicom_series, edit_dicom, array, axial, kind):
    # Numbers that say nothing; and such as say something else.
    numbers = (lambda k, z: z + 1, lambda k, z: 2 * z + (k + z) % 2 + 1)[list(KINDS).index(kind) % 2]
    for k, paths in enumerate(write(tmp_path, dicom_series, array, axial, numbers)):
        for path in paths:
            edit_dicom(path, lambda dataset, k=k: KINDS[kind](dataset, k))
    check(tmp_path, array)


@pytest.mark.parametrize("keyword", ["TriggerTime", "InversionTime", "AcquisitionNumber", "AcquisitionTime"])
def test_the_order_of_times_that_differ_from_slice_to_slice(
    tmp_path, dicom_series, edit_dicom, array, axial, keyword
):
    numbers = lambda k, z: z + 1  # noqa: E731
    for k, paths in enumerate(write(tmp_path, dicom_series, array, axial, numbers)):
        for place, path in enumerate(paths):
            # Slices 0, 2, 4, ... are taken first.
            time = 100 * k + (3 * place) % 7
            edit_dicom(path, lambda dataset, time=time: setattr(dataset, keyword, f"{time:06}"))
    check(tmp_path, array)


def test_times_over_midnight(tmp_path, dicom_series, edit_dicom, array, axial):
    for k, paths in enumerate(write(tmp_path, dicom_series, array, axial, lambda k, z: z + 1)):
        for place, path in enumerate(paths):
            second = 4 * k + place // 2  # The first volume, too, ends after midnight.
            day, time = (
                ("20200101", f"23595{8 + second}") if second < 2 else ("20200102", f"00000{second - 2}")
            )

            def change(dataset, day=day, time=time):
                dataset.AcquisitionDate, dataset.AcquisitionTime = day, time

            edit_dicom(path, change)
    check(tmp_path, array)


def test_times_at_which_images_were_made_in_no_order_say_nothing(
    tmp_path, dicom_series, edit_dicom, array, axial
):
    for k, paths in enumerate(write(tmp_path, dicom_series, array, axial, lambda k, z: z + 1)):
        for place, path in enumerate(paths):
            time = 100000 + (7 * place + 5 * k) % 13
            edit_dicom(path, lambda dataset, time=time: setattr(dataset, "ContentTime", str(time)))
    with pytest.raises(MrisrError, match="cannot be told apart"):
        read_volume(tmp_path, index=0)


def test_an_echo_time_that_drifts_tells_nothing_apart(tmp_path, dicom_series, edit_dicom, array, axial):
    for k, paths in enumerate(write(tmp_path, dicom_series, array, axial, lambda k, z: z + 1)):
        for place, path in enumerate(paths):

            def change(dataset, k=k, place=place):
                dataset.EchoTime = 5 + 0.001 * ((2 * place + 3 * k) % 5)
                dataset.FlipAngle = 5 + 10 * k

            edit_dicom(path, change)
    check(tmp_path, array)
    with pytest.raises(MrisrError) as caught:
        read_volume(tmp_path)
    assert "(0: FlipAngle 5; 1: FlipAngle 15)" in str(caught.value)


def test_two_elements_make_four_volumes(tmp_path, dicom_series, edit_dicom, array, axial, caplog):
    for k, paths in enumerate(write(tmp_path, dicom_series, array, axial, lambda k, z: z + 1, count=4)):
        for path in paths:

            def change(dataset, k=k):
                dataset.EchoTime, dataset.TriggerTime = 5 + 5 * (k // 2), 40 * (k % 2)

            edit_dicom(path, change)
    check(tmp_path, array, 4)
    with pytest.raises(MrisrError) as caught:
        read_volume(tmp_path)
    assert "4 images at each position. Choose one with `volume_index` 0 to 3" in str(caught.value)
    assert "0: EchoTime 5, TriggerTime 0; 1: EchoTime 5, TriggerTime 40; 2: EchoTime 10," in str(caught.value)
    with caplog.at_level(logging.INFO):
        read_volume(tmp_path, index=2)
    assert "volume 2 of 4 (EchoTime 10, TriggerTime 0)" in caplog.text


@pytest.mark.parametrize("numbers", [lambda k, z: 6 * k + (5 * z) % 6, lambda k, z: 20 * ((5 * z) % 6) + k])
def test_numbers_that_follow_volumes_or_places(tmp_path, dicom_series, array, axial, numbers):
    write(tmp_path, dicom_series, array, axial, numbers)
    check(tmp_path, array)


@pytest.mark.parametrize("numbers", [lambda k, z: z, lambda k, z: (5 * z + 7 * k) % 12, lambda k, z: 1])
def test_numbers_that_follow_neither_are_refused(tmp_path, dicom_series, array, axial, numbers):
    write(tmp_path, dicom_series, array, axial, numbers)
    for index in (None, 0, 1):
        with pytest.raises(MrisrError, match="mixes volumes that cannot be told apart"):
            read_volume(tmp_path, index)


def test_an_element_that_contradicts_the_times_is_refused(tmp_path, dicom_series, edit_dicom, array, axial):
    for k, paths in enumerate(write(tmp_path, dicom_series, array, axial, lambda k, z: z + 6 * k)):
        for place, path in enumerate(paths):
            edit_dicom(path, lambda dataset, a=5 + 10 * k + place // 3: setattr(dataset, "FlipAngle", a))
    with pytest.raises(MrisrError, match=r"\(they differ in FlipAngle within one volume\)"):
        read_volume(tmp_path, index=0)


def test_many_volumes_are_not_all_listed(tmp_path, dicom_series, array, axial):
    for k in range(30):
        dicom_series(tmp_path / str(k), array[:, :, :1], axial, uid="1.2.9", EchoTime=str(5 + k))
    with pytest.raises(MrisrError, match=r"0 to 29 \(0: EchoTime 5; .*; 11: EchoTime 16, \.\.\. to 29\)\.$"):
        read_volume(tmp_path)


def sequence(**elements):
    item = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


# Functional groups of volume k, and the pointer to the element that its index stands for.
ENHANCED = {
    "flip angle": ("FlipAngle", lambda k: {
        "MRTimingAndRelatedParametersSequence": sequence(FlipAngle=5.0 + 10 * k, RepetitionTime=10.0)}),
    "echo time": ("EffectiveEchoTime", lambda k: {"MREchoSequence": sequence(EffectiveEchoTime=5.0 + k)}),
    "cardiac delay": ("NominalCardiacTriggerDelayTime", lambda k: {
        "CardiacSynchronizationSequence": sequence(NominalCardiacTriggerDelayTime=40.0 * k)}),
    "direction": ("DiffusionGradientOrientation", lambda k: {"MRDiffusionSequence": sequence(
        DiffusionBValue=1000.0, DiffusionGradientDirectionSequence=sequence(
            DiffusionGradientOrientation=[0.0, float(k == 0), float(k == 1)]))}),
    "b-value": ("DiffusionBValue", lambda k: {"MRDiffusionSequence": sequence(DiffusionBValue=500.0 * k)}),
    "component": ("ComplexImageComponent", lambda k: {"MRImageFrameTypeSequence": sequence(
        FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"],
        ComplexImageComponent=["IMAGINARY", "MAGNITUDE", "PHASE"][k])}),
    "inversion time": ("InversionTimes", lambda k: {
        "MRModifierSequence": sequence(InversionTimes=[100.0 + 50 * k])}),
    "only its index": ("TemporalPositionIndex", lambda k: {}),
}  # fmt: skip


@pytest.fixture
def shuffled(tmp_path, enhanced_series, edit_dicom, array, axial):
    """A function that writes an Enhanced file of three volumes whose frames are in no order."""

    def write(pointer, groups, indices=True):
        volumes = np.stack([array + 300 * k for k in range(3)], -1).astype("uint16")
        path = enhanced_series(tmp_path / "enhanced.dcm", volumes, axial)
        order = np.random.default_rng(1).permutation(3 * SHAPE[2])

        def change(dataset):
            frames = dataset.PerFrameFunctionalGroupsSequence
            for number, frame in enumerate(frames):
                k = number // SHAPE[2]
                for name, items in groups(k).items():
                    setattr(frame, name, items)
                del frame.FrameContentSequence[0].TemporalPositionIndex
                if not indices:
                    del frame.FrameContentSequence[0].DimensionIndexValues
            dataset.PerFrameFunctionalGroupsSequence = [frames[number] for number in order]
            tags = (0x00209056, 0x00209057, pydicom.datadict.tag_for_keyword(pointer))
            dataset.DimensionIndexSequence = [sequence(DimensionIndexPointer=tag)[0] for tag in tags]
            pixels = volumes.transpose(3, 2, 1, 0).reshape(-1, SHAPE[1], SHAPE[0])
            dataset.PixelData = pixels[order].tobytes()
            dataset["PixelData"].VR = "OW"

        edit_dicom(path, change)
        return path

    return write


@pytest.mark.parametrize("kind", ENHANCED)
def test_enhanced_frames_in_no_order(shuffled, array, kind):
    check(shuffled(*ENHANCED[kind]), array, 3)


@pytest.mark.parametrize("kind", [kind for kind in ENHANCED if kind not in ("direction", "only its index")])
def test_enhanced_frames_in_no_order_without_indices(shuffled, array, kind):
    check(shuffled(*ENHANCED[kind], indices=False), array, 3)


def test_directions_without_indices_come_in_the_order_of_their_frames(shuffled, array):
    path = shuffled(*ENHANCED["direction"], indices=False)
    found = {int(read_volume(path, index).array.min() - array.min()) for index in range(3)}
    assert found == {0, 300, 600}
    for index in range(3):
        offset = read_volume(path, index).array.astype(int) - array
        assert offset.min() == offset.max()


def test_enhanced_frames_that_nothing_tells_apart(shuffled):
    path = shuffled(*ENHANCED["only its index"], indices=False)
    with pytest.raises(MrisrError, match="cannot be told apart"):
        read_volume(path, index=0)


def test_the_list_of_an_enhanced_file(shuffled):
    with pytest.raises(MrisrError, match=r"\(0: FlipAngle 5; 1: FlipAngle 15; 2: FlipAngle 25\)"):
        read_volume(shuffled(*ENHANCED["flip angle"]))
