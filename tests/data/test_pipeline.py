import keras
import numpy as np
import pytest

from keras_mrisr.data import read_dataset, write_image
from keras_mrisr.data.normalize import RangeNormalizer, normalizer_for
from keras_mrisr.data.pipeline import (
    PatchDataset,
    SlicePair,
    crop_to_multiple,
    load_pairs,
    separate_channels,
)
from keras_mrisr.data.slices import SliceRecord
from keras_mrisr.degrade import get_degradation
from keras_mrisr.errors import MrisrError


@pytest.fixture(scope="module")
def pairs(image_root):
    return load_pairs(read_dataset(image_root), get_degradation("bicubic", 2))


def coded_pair(height, width, scale, channels=1, tmp="coded.png"):
    """A slice whose every LR pixel, and the HR block that belongs to it, holds one number of its own."""
    codes = np.arange(height * width, dtype="float32").reshape(height, width, 1)
    codes = np.concatenate([codes + 10000 * c for c in range(channels)], axis=-1)
    hr = codes.repeat(scale, axis=0).repeat(scale, axis=1)
    return SlicePair(hr, codes, RangeNormalizer(0.0, 1.0), SliceRecord(tmp, "p", 0))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_load_pairs(image_root):
    dataset = read_dataset(image_root)
    degradation = get_degradation("paper", 2)
    seen = []
    pairs = load_pairs(dataset, degradation, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 24) for i in range(24)]
    assert [pair.record for pair in pairs] == list(dataset.slices)
    for pair in pairs:
        assert (pair.hr.shape, pair.lr.shape) == ((32, 32, 1), (16, 16, 1))
        assert pair.hr.dtype == pair.lr.dtype == "uint8"
        np.testing.assert_array_equal(pair.lr, degradation.degrade(pair.hr))
        assert pair.normalizer == RangeNormalizer(0.0, 255.0)


def test_slices_are_cropped_to_a_multiple(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 1), dtype="uint8")
    write_image(tmp_path / "a.png", image)
    (pair,) = load_pairs(read_dataset(tmp_path), get_degradation("bicubic", 4))
    np.testing.assert_array_equal(pair.hr, image[:32, :44])
    assert pair.lr.shape == (8, 11, 1)
    assert crop_to_multiple(image[..., 0], 3).shape == (33, 45)


def test_16_bits_take_their_range_from_the_lr_slice(tmp_path, smooth_image):
    image = (smooth_image(32, 32, dtype="uint16") // 16).astype("uint16")
    write_image(tmp_path / "a.png", image)
    (pair,) = load_pairs(read_dataset(tmp_path), get_degradation("paper", 2))
    assert pair.lr.dtype == "uint16"
    assert pair.normalizer == normalizer_for(pair.lr)
    lr, hr = PatchDataset([pair], 2, patch_size=16, batch_size=4, steps=1)[0]
    assert lr.dtype == hr.dtype == "float32"
    assert 0.5 < lr.max() < 1.1


def test_corrupt_acts_on_lr_alone_and_repeats(image_root):
    pairs = load_pairs(read_dataset(image_root), get_degradation("bicubic", 2))

    def batch(corrupt, step=0, size=16):
        return PatchDataset(pairs, 2, size, 4, steps=2, augment=False, candidates=1, corrupt=corrupt)[step]

    whole = []

    def corrupt(patch, image, rng):
        whole.append(image.shape)
        return patch.astype("float32") + 255 * rng.random(dtype="float32")

    lr, hr = batch(None)
    noisy, same_hr = batch(corrupt)
    assert whole == [(16, 16, 1)] * 4
    assert noisy.dtype == "float32"
    added = noisy[0] - lr[0]  # In [0, 1]: before the patches after it, the generator was in step.
    np.testing.assert_allclose(added, added.mean(), atol=1e-6)
    assert 0 < added.mean() < 1
    np.testing.assert_array_equal(hr[0], same_hr[0])
    assert same(batch(corrupt), (noisy, same_hr))
    assert not same(batch(corrupt, step=1), (noisy, same_hr))
    assert batch(corrupt, size=None)[0].shape == (4, 16, 16, 1)


def test_load_pairs_rejects(tmp_path, smooth_image):
    for name, channels in (("a", 1), ("b", 3)):
        write_image(tmp_path / f"{name}.png", smooth_image(16, 16, channels))
    dataset = read_dataset(tmp_path)
    degradation = get_degradation("bicubic", 2)
    with pytest.raises(MrisrError, match=r"b\.png has 3 channels where 1 were expected"):
        load_pairs(dataset, degradation)
    with pytest.raises(MrisrError, match=r"a\.png has 1 channels where 3 were expected"):
        load_pairs(dataset, degradation, channels=3)
    with pytest.raises(MrisrError, match=r"a\.png: A slice of 16x16 is too small"):
        load_pairs(dataset, get_degradation("bicubic", 8))
    with pytest.raises(MrisrError, match="No slices to load"):
        load_pairs(dataset.select([]), degradation)


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("candidates", [1, 3])
@pytest.mark.parametrize("scale", [2, 3])
def test_patches_are_aligned(scale, candidates, augment):
    pair = coded_pair(20, 30, scale, channels=2)
    dataset = PatchDataset(
        [pair], scale, patch_size=6 * scale, batch_size=32, steps=2, augment=augment, candidates=candidates
    )
    places = set()
    for lr, hr in dataset:
        assert lr.shape == (32, 6, 6, 2)
        assert hr.shape == (32, 6 * scale, 6 * scale, 2)
        assert lr.dtype == hr.dtype == "float32"
        assert lr.flags.c_contiguous and hr.flags.c_contiguous
        np.testing.assert_array_equal(hr, lr.repeat(scale, axis=1).repeat(scale, axis=2))
        np.testing.assert_array_equal(lr[..., 1] - lr[..., 0], 10000)
        places.update(lr[..., 0].min(axis=(1, 2)))
    assert len(places) > 40, "patches come from all over the slice"
    assert {int(place) // 30 for place in places} >= {0, 14}, "first and last row included"


def test_all_eight_orientations_occur():
    pair = coded_pair(4, 4, 2)
    lr, _ = PatchDataset([pair], 2, patch_size=8, batch_size=200, steps=1)[0]
    expected = {np.rot90(image, k).tobytes() for image in (pair.lr, pair.lr[:, ::-1]) for k in range(4)}
    assert {image.tobytes() for image in lr} == expected
    lr, _ = PatchDataset([pair], 2, patch_size=8, batch_size=200, steps=1, augment=False)[0]
    assert {image.tobytes() for image in lr} == {pair.lr.tobytes()}


def test_whole_slices_that_are_not_square():
    pair = coded_pair(4, 6, 2)
    dataset = PatchDataset([pair], 2, patch_size=None, batch_size=100, steps=1)
    lr, hr = dataset[0]
    assert (lr.shape, hr.shape) == ((100, 4, 6, 1), (100, 8, 12, 1))
    np.testing.assert_array_equal(hr, lr.repeat(2, axis=1).repeat(2, axis=2))
    assert len({image.tobytes() for image in lr}) == 4


def test_candidates_prefer_contrast(pairs):
    def contrast(candidates):
        lr, _ = PatchDataset(pairs, 2, patch_size=8, batch_size=200, steps=1, candidates=candidates)[0]
        return lr.std(axis=(1, 2)).mean()

    assert contrast(4) > 1.1 * contrast(1)


def test_same_seed_same_batches(pairs):
    def dataset(**options):
        return PatchDataset(pairs, 2, patch_size=16, batch_size=3, steps=4, **options)

    one, other = dataset(seed=5), dataset(seed=5)
    # In any order, and whatever was asked for before.
    assert all(same(one[i], batch) for i, batch in reversed(list(enumerate(other))))
    assert not same(one[0], one[1])
    assert not same(one[0], dataset(seed=6)[0])
    first = list(one)
    one.on_epoch_begin()
    one.on_epoch_end()
    assert not any(same(a, b) for a, b in zip(first, one, strict=True))
    assert same(one[2], dataset(seed=5, epoch=1)[2])


def test_the_rest_of_a_stopped_epoch(pairs):
    options = {"patch_size": 16, "batch_size": 3, "steps": 5, "seed": 1}
    whole = PatchDataset(pairs, 2, epoch=2, **options)
    rest = PatchDataset(pairs, 2, epoch=2, first_step=3, **options)
    assert (len(whole), len(rest)) == (5, 2)
    assert same(rest[0], whole[3]) and same(rest[1], whole[4])
    for dataset in (whole, rest):
        dataset.on_epoch_begin()
        dataset.on_epoch_end()
    assert len(rest) == 5
    assert all(same(a, b) for a, b in zip(rest, whole, strict=True))


def test_mixed_sizes(pairs):
    small = coded_pair(10, 12, 2)
    dataset = PatchDataset([*pairs[:2], small], 2, patch_size=20, batch_size=20, steps=1)
    assert dataset[0][0].shape == (20, 10, 10, 1)
    with pytest.raises(MrisrError, match=r"mixed sizes .* 32x32, coded\.png is 20x24\. Set a patch size"):
        PatchDataset([pairs[0], small], 2, patch_size=None)
    with pytest.raises(MrisrError, match=r"coded\.png is 20x24, smaller than the patch of 22"):
        PatchDataset([pairs[0], small], 2, patch_size=22)


def test_rejects(pairs):
    for patch_size in (0, 1, 15):
        with pytest.raises(MrisrError, match=f"multiple of the scale 2. Received: {patch_size}"):
            PatchDataset(pairs, 2, patch_size=patch_size)
    with pytest.raises(MrisrError, match="no slices to take patches from"):
        PatchDataset([], 2)


class Recorder(keras.Model):
    """Keeps the sum of each batch that reaches it: what `fit` trained on, and what it was validated on."""

    def __init__(self):
        super().__init__()
        self.weight = self.add_weight(shape=(), name="weight")
        self.seen, self.validated = [], []
        self.built = True

    def train_step(self, data):
        self.seen.append(float(keras.ops.sum(data[0])))
        return {"loss": keras.ops.sum(self.weight)}

    def test_step(self, data):
        self.validated.append(float(keras.ops.sum(data[0])))
        return {"loss": keras.ops.sum(self.weight)}


@pytest.fixture
def recorder():
    model = Recorder()
    model.compile("sgd", run_eagerly=True)
    return model


@pytest.fixture
def fit(pairs):
    """A function (model, arguments of fit) that fits patches, and the sums of the batches of some epochs."""
    options = {"patch_size": 16, "batch_size": 2, "steps": 3, "seed": 4}

    def run(model, **arguments):
        data = arguments.pop("data", None) or PatchDataset(pairs, 2, **options)
        model.fit(data, shuffle=False, verbose=0, **arguments)

    def sums(*epochs):
        return [
            float(lr.sum()) for epoch in epochs for lr, _ in PatchDataset(pairs, 2, epoch=epoch, **options)
        ]

    return run, sums


def test_fit_sees_each_batch_once_and_in_order(recorder, fit):
    run, sums = fit
    run(recorder, epochs=3)
    np.testing.assert_allclose(recorder.seen, sums(0, 1, 2), rtol=1e-5)


def test_fit_from_a_later_epoch_takes_that_epochs_batches(recorder, fit):
    run, sums = fit
    run(recorder, initial_epoch=2, epochs=4)
    np.testing.assert_allclose(recorder.seen, sums(2, 3), rtol=1e-5)


@pytest.mark.parametrize("how", ["initial_epoch", "backup"])
def test_only_batches_of_the_epochs_to_come_are_made(tmp_path, recorder, fit, pairs, how):
    # `fit` makes two batches before its first epoch, just for their shapes.
    class Spy(PatchDataset):
        def __getitem__(self, index):
            seen.append((self.epoch, index))
            return super().__getitem__(index)

    seen, (run, _) = [], fit
    (tmp_path / "training_metadata.json").write_text('{"epoch": 2}')
    backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    where = {"initial_epoch": 2} if how == "initial_epoch" else {"callbacks": [backup]}
    run(recorder, data=Spy(pairs, 2, patch_size=16, batch_size=1, steps=2), epochs=4, **where)
    assert sorted(set(seen)) == [(2, 0), (2, 1), (3, 0), (3, 1)]


def test_several_fits_of_one_dataset_take_the_next_epochs(recorder, fit, pairs):
    run, sums = fit
    data = PatchDataset(pairs, 2, patch_size=16, batch_size=2, steps=3, seed=4)
    run(recorder, data=data, epochs=1)
    recorder.evaluate(data, verbose=0)  # Looks at the epoch that comes next, and moves nothing.
    run(recorder, data=data, epochs=2)
    np.testing.assert_allclose(recorder.seen, sums(0, 1, 2), rtol=1e-5)


@pytest.mark.parametrize("restored", [True, False], ids=["known before", "known late"])
def test_backup_and_restore_resumes_with_the_batches_that_come_next(tmp_path, recorder, fit, restored):
    run, sums = fit

    def stop(epoch, logs):
        if epoch == 2:
            raise InterruptedError

    class Restore(keras.callbacks.Callback):  # A callback of a user's own that does the like.
        def on_train_begin(self, logs=None):
            self.model._initial_epoch = 2

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(InterruptedError):
        run(recorder, epochs=4, callbacks=[backup, keras.callbacks.LambdaCallback(on_epoch_begin=stop)])
    recorder.seen.clear()
    run(recorder, epochs=4, callbacks=[backup if restored else Restore()])
    np.testing.assert_allclose(recorder.seen, sums(2, 3), rtol=1e-5)


@pytest.mark.parametrize("steps", [None, 2], ids=["all", "validation_steps"])
def test_validation_sees_the_same_batches_every_epoch(recorder, fit, pairs, steps):
    run, sums = fit
    validation = PatchDataset(pairs, 2, patch_size=16, batch_size=2, steps=3, seed=4)
    run(recorder, epochs=5, initial_epoch=2, validation_data=validation, validation_steps=steps)
    recorder.evaluate(validation, verbose=0, steps=steps)
    np.testing.assert_allclose(recorder.validated, 4 * sums(0)[:steps], rtol=1e-5)


def test_separate_channels_are_grey_pairs_in_the_same_memory(lgg_root):
    dataset = read_dataset(lgg_root)
    pairs = load_pairs(dataset, get_degradation("bicubic", 2))
    separate = separate_channels(pairs)
    assert len(separate) == 3 * len(pairs)
    for place in range(3):
        one = separate[3 + place]
        np.testing.assert_array_equal(one.hr[..., 0], pairs[1].hr[..., place])
        np.testing.assert_array_equal(one.lr[..., 0], pairs[1].lr[..., place])
        assert one.record == pairs[1].record and np.shares_memory(one.hr, pairs[1].hr)


def test_separate_channels_keep_their_neighbours(lgg_root):
    pairs = load_pairs(read_dataset(lgg_root), get_degradation("bicubic", 2), neighbours=1)
    one = separate_channels(pairs)[4]
    np.testing.assert_array_equal(one.lr, pairs[1].lr[..., 1::3])


def test_gain_scales_both_sides_alike(lgg_root):
    pairs = load_pairs(read_dataset(lgg_root), get_degradation("bicubic", 2))
    options = {"patch_size": 16, "batch_size": 8, "steps": 1, "augment": False, "candidates": 1}
    plain = PatchDataset(pairs, 2, **options)
    scaled = PatchDataset(pairs, 2, gain=[0.25, 0.5], **options)
    rng_plain, rng_scaled = np.random.default_rng(3), np.random.default_rng(3)
    pair, other = plain._sample(pairs[0], rng_plain), scaled._sample(pairs[0], rng_scaled)
    factor = other[1].sum() / pair[1].sum()
    assert 0.25 <= factor <= 0.5
    for one, two in zip(pair, other, strict=True):
        np.testing.assert_allclose(two, one * factor, rtol=1e-5)
    factors = {round(float(lr.max()), 3) for lr in scaled[0][0]}
    assert len(factors) > 4
