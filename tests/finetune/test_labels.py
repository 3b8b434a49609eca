import dataclasses
import logging
import re

import numpy as np
import pytest

from keras_mrisr.data import read_dataset, write_image
from keras_mrisr.errors import MrisrError
from keras_mrisr.finetune.labels import (
    UNKNOWN,
    check_labels,
    distinct_channels,
    load_labelled,
    sequence_names,
)

BOTH = ("tumour", "sequence")


def test_labels_of_slices(toy_dataset):
    slices = load_labelled(toy_dataset.select(["p3"]), BOTH)
    assert [each.tumour for each in slices] == [0, 1, 0, 1]
    assert {each.sequences for each in slices} == {(0, 1, 2)}
    assert slices[1].mask.sum() == 144
    assert slices[0].normalizer.normalize(slices[0].image).max() <= 1
    assert {each.tumour for each in load_labelled(toy_dataset.select(["p3"]), ("sequence",))} == {UNKNOWN}


def test_copied_sequences_are_unknown():
    rng = np.random.default_rng(0)
    stack = [rng.integers(0, 255, (8, 8, 3), "uint8") for _ in range(5)]
    assert distinct_channels(stack).tolist() == [True] * 3
    for image in stack[:3]:  # More than half of the slices.
        image[..., 2] = image[..., 1]
    assert distinct_channels(stack).tolist() == [True, False, False]
    stack += [np.zeros((8, 8, 3), "uint8")] * 9
    assert distinct_channels(stack).tolist() == [True, False, False], "blank slices say nothing"
    assert not distinct_channels([np.repeat(stack[0][..., :1], 3, -1)]).any(), "grey stored as RGB"
    assert distinct_channels([stack[0][..., :1]]).tolist() == [True]


def test_a_channel_without_signal_is_unknown(tmp_path, toy_slice):
    image, mask = toy_slice(np.random.default_rng(0), True)
    for index in range(3):
        shown = image.copy()
        shown[..., 1] *= index > 0
        write_image(tmp_path / "p" / f"{index}.png", shown)
        write_image(tmp_path / "p" / f"{index}_mask.png", mask)
    sequences = [each.sequences for each in load_labelled(read_dataset(tmp_path), BOTH)]
    assert sequences == [(0, UNKNOWN, 2), (0, 1, 2), (0, 1, 2)]


def test_slices_without_a_mask_are_left_out(toy_dataset, caplog):
    records = list(toy_dataset.select(["p0"]).slices)
    records[2] = dataclasses.replace(records[2], mask=None)
    dataset = dataclasses.replace(toy_dataset, slices=tuple(records))
    with caplog.at_level(logging.WARNING):
        assert len(load_labelled(dataset, BOTH)) == 3
    assert "1 slices without a mask are left out" in caplog.text
    assert len(load_labelled(dataset, ("sequence",))) == 4


def test_what_cannot_be_learned(toy_dataset, image_root):
    def refused(message, slices, labels, part="training"):
        with pytest.raises(MrisrError, match=re.escape(message)) as error:
            check_labels(slices, labels, part)
        assert "\n" not in str(error.value)

    slices = load_labelled(toy_dataset.select(["p0"]), BOTH)
    check_labels(slices, BOTH, "training")
    refused("All 2 validation slices show a tumour", slices[1::2], BOTH, "validation")
    refused("All 2 training slices show no tumour", slices[::2], BOTH)
    same = [dataclasses.replace(each, sequences=(UNKNOWN, UNKNOWN, 2)) for each in slices]
    refused("do not have two channels that differ", same, BOTH)
    check_labels(same, ("tumour",), "training")
    grey = load_labelled(read_dataset(image_root), ("sequence",))
    refused("have one channel: there is no label 'sequence'", grey, ("sequence",))
    with pytest.raises(MrisrError, match=r"has no masks to learn the label 'tumour' from.*'sequence' alone"):
        load_labelled(read_dataset(image_root), BOTH)
    with pytest.raises(MrisrError, match="has 3 channels where 1 were expected"):
        load_labelled(toy_dataset, BOTH, channels=1)


def test_names_of_sequences():
    assert sequence_names("lgg", 3) == ["pre-contrast", "FLAIR", "post-contrast"]
    assert sequence_names("images", 2) == ["channel 0", "channel 1"]
