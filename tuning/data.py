"""The data of a study, checked before the first trial."""

import numpy as np

from keras_mrisr.data import SliceDataset
from keras_mrisr.data.splits import Split, continued_split, split_patients
from keras_mrisr.tuning.study import Study


def checked_data(study: Study, dataset: SliceDataset | None) -> tuple[SliceDataset, int]:
    """The dataset and its number of channels, once it is clear that the study can be trained on it."""
    from keras_mrisr.data.read import read_dataset
    from keras_mrisr.training.pairs import check_data
    from keras_mrisr.volumes import read_volume

    data = study.config.data
    if dataset is None:
        dataset = read_dataset(data.root, data.kind, data.patient_pattern, data.choice)
    check_data(study.config, dataset)
    first = dataset.select(study_split(study, dataset).val).slices[0]
    if study.config.dimensions == 3:
        return dataset, _channels(read_volume(first.path).array, 3)
    from keras_mrisr.data.images import read_image

    return dataset, _channels(read_image(first.path), 2)


def study_split(study: Study, dataset: SliceDataset) -> Split:
    """The split of a study's patients: that of its config, and of the model that its trials start from."""
    from keras_mrisr.models.storage import load_info

    data, init = study.config.data, study.config.training.init
    split = split_patients(dataset.sites, data.split_seed, data.validation_fraction, data.test_fraction)
    return continued_split(split, init, load_info(init).data.get("split") or {}) if init else split


def _channels(array: np.ndarray, axes: int) -> int:
    return array.shape[axes] if array.ndim > axes else 1
