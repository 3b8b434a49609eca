"""The data of a study, checked before the first trial."""

import numpy as np

from keras_mrisr.data import SliceDataset
from keras_mrisr.tuning.study import Study


def checked_data(study: Study, dataset: SliceDataset | None) -> tuple[SliceDataset, int]:
    """The dataset and its number of channels, once it is clear that the study can be trained on it."""
    from keras_mrisr.data.read import read_dataset
    from keras_mrisr.data.splits import check_unseen, split_patients
    from keras_mrisr.models.storage import load_info
    from keras_mrisr.training.pairs import check_data
    from keras_mrisr.volumes import read_volume

    data = study.config.data
    if dataset is None:
        dataset = read_dataset(data.root, data.kind, data.patient_pattern)
    check_data(study.config, dataset)
    split = split_patients(dataset.sites, data.split_seed, data.validation_fraction, data.test_fraction)
    init = study.config.training.init
    if init:
        taught = load_info(init).data.get("split") or {}
        check_unseen("training.init", init, taught, split)
    first = dataset.select(split.val).slices[0]
    if study.config.dimensions == 3:
        return dataset, _channels(read_volume(first.path).array, 3)
    from keras_mrisr.data.images import read_image

    return dataset, _channels(read_image(first.path), 2)


def _channels(array: np.ndarray, axes: int) -> int:
    return array.shape[axes] if array.ndim > axes else 1
