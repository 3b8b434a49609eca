"""Batches of which each depends on its place in the run only, so that a stopped run goes on with the same."""

import keras
import numpy as np


class ResumableBatches(keras.utils.PyDataset):
    """Base of the datasets for `model.fit`: batches that depend on the seed, the epoch and their number.

    Args:
        steps: Batches an epoch.
        seed: Seed of everything that is random.
        epoch: Number of the first epoch.
        first_step: Number of the first batch of the first epoch: the rest of a stopped epoch.
    """

    def __init__(self, steps, seed=0, epoch=0, first_step=0):
        super().__init__()
        self.steps = steps
        self.seed = seed
        self.start(epoch, first_step)

    def samples(self, rng):
        """The samples of one batch, drawn with a NumPy generator: a list of tuples of arrays."""
        raise NotImplementedError

    def start(self, epoch, first_step=0):
        """Goes to a place in the run: the next batches are those of `epoch` from `first_step` on."""
        self.epoch = epoch
        self.first_step = first_step
        self._begun = False

    def __len__(self):
        return self.steps - self.first_step

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, self.epoch, self.first_step + index))
        return tuple(np.stack(part) for part in zip(*self.samples(rng), strict=True))

    def on_epoch_begin(self):
        self._begun = True

    def on_epoch_end(self):
        # Keras 3.15 also ends an epoch before the first one.
        if self._begun:
            self.start(self.epoch + 1)
