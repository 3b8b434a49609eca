"""Run by test_distributed.py, alone and by torchrun: `train` with plain gradient descent.

Arguments: config, folder of the run, and a file for rank 1 to leave when it is killed in the middle of the
second stage.
"""

import os
import pathlib
import signal
import sys

sys.modules["tensorflow"] = None  # It is not needed, and takes longer to load than this takes to train.

import keras  # noqa: E402
import torch  # noqa: E402

from keras_mrisr.config import read_config  # noqa: E402
from keras_mrisr.training import muon, train  # noqa: E402
from keras_mrisr.training.callbacks import Agreement  # noqa: E402
from keras_mrisr.training.clipping import WholeGradientClipping  # noqa: E402
from keras_mrisr.training.record import Record  # noqa: E402

torch.set_num_threads(1)


class SGD(WholeGradientClipping, keras.optimizers.SGD):
    """Adam would make the smallest difference between two gradients as large as the rate."""


def die_once(self, batch, logs=None):
    agree(self, batch, logs)
    middle = (self.backup.state.epoch, batch, hasattr(self.model, "discriminator")) == (1, 4, True)
    if middle and os.environ["RANK"] == "1" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


muon.Adam = SGD
Record._write_pictures = lambda self: None  # Which takes more time than these steps.
if sys.argv[3:]:
    mark, agree = pathlib.Path(sys.argv[3]), Agreement.on_train_batch_end
    Agreement.on_train_batch_end = die_once
train(read_config(sys.argv[1]), pathlib.Path(sys.argv[2]))
