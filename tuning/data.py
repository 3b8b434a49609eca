"""The data of a study, checked before the first trial."""

from keras_mrisr.errors import ConfigError


def checked_data(study, dataset):
    """The dataset and its number of channels, once it is clear that the study can be trained on it."""
    from keras_mrisr.data.read import read_dataset
    from keras_mrisr.data.splits import split_patients
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
        seen = set(load_info(init).data.get("split", {}).get("train", ())) & {*split.val, *split.test}
        if seen:
            raise ConfigError(
                f"{init} was trained with {len(seen)} patient(s) that this study scores on or holds out "
                f"({min(seen)}, ...): its scores would be worth nothing. Train it with the same "
                "data.split_seed and fractions."
            )
    first = dataset.select(split.val).slices[0]
    if study.config.is_3d:
        return dataset, _channels(read_volume(first.path).array, 3)
    from keras_mrisr.data.images import read_image

    return dataset, _channels(read_image(first.path), 2)


def _channels(array, axes):
    return array.shape[axes] if array.ndim > axes else 1
