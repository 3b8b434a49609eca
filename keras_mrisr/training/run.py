"""One run of a training, whatever it trains: its folder, data and devices, how it resumes and ends."""

import contextlib
import dataclasses
import hashlib
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_mrisr import ranks
from keras_mrisr.data.batches import ResumableBatches
from keras_mrisr.data.pipeline import check_channels
from keras_mrisr.data.read import read_dataset
from keras_mrisr.data.slices import SliceDataset
from keras_mrisr.data.splits import Split, check_unseen
from keras_mrisr.data.volume_slices import read_stack
from keras_mrisr.errors import DataError
from keras_mrisr.files import held
from keras_mrisr.model_info import ModelInfo, ThroughPlaneInfo
from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.directory import (
    BACKUP,
    AnyConfig,
    check_same_config,
    claim_run,
    fix_split,
    open_run,
)
from keras_mrisr.training.gradients import average_over_ranks
from keras_mrisr.training.state import RunState, restore_backup, save_backup, share_model
from keras_mrisr.training.strategy import hardware, strategy_scope, training_precision
from keras_mrisr.types import Model, PathLike

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Run:
    """A run that no other process can write to; see `opened_run`.

    Attributes:
        config: Its config.
        out: Its folder.
        overwrite: Whether an earlier run in the folder is to be deleted.
        state: How far it is.
        moved: Whether it resumes with data under another path than before.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.
        dataset: The data, after `read`.
        split: The split of its patients, after `read`.
    """

    config: Any
    out: pathlib.Path
    overwrite: bool
    state: RunState
    moved: bool
    report: cb.Report | None = None
    dataset: SliceDataset = dataclasses.field(init=False)
    split: Split = dataclasses.field(init=False)

    @property
    def resumed(self) -> bool:
        """Whether something is trained already."""
        return bool(self.state.epoch or self.state.step)

    def read(
        self,
        dataset: SliceDataset | None = None,
        split: Split | None = None,
        masks: bool = False,
        starts: Sequence[tuple[str, PathLike, ModelInfo | ThroughPlaneInfo]] = (),
    ) -> tuple[SliceDataset, SliceDataset]:
        """Finds the data and the split, and sets the seed.

        Args:
            dataset: A `SliceDataset`; by default it is read from `config.data`.
            split: A `Split` of its patients; by default made from `config.data`.
            masks: Whether it is trained on the masks, too.
            starts: (key of the config, model, its description) of what the run starts from. A split that is
                made keeps the parts of the first one: see `continued_split`.

        Returns:
            The training patients and the validation patients.

        Raises:
            DataError: The run resumes with other data than it began with, or holds out patients that a model
                of `starts` was trained with.
        """
        known = [(key, model, info.data.get("split") or {}) for key, model, info in starts]
        start = known[0][1:] if known else None
        data = self.config.data
        self.dataset = dataset or read_dataset(data.root, data.kind, data.patient_pattern, data.choice)
        self.split = ranks.from_leader(
            lambda: fix_split(self.out, self.dataset, split, data, self.overwrite, start)
        )
        for key, model, taught in known:
            check_unseen(key, model, taught, self.split)
        train, val = self.dataset.select(self.split.train), self.dataset.select(self.split.val)
        self._check_same_data((train, val), masks)
        keras.utils.set_random_seed(self.config.training.seed)
        log.info("Reading %s for training", train.extent)
        return train, val

    def check_test_patients(self, channels: int | None) -> None:
        """Reads the images of the test patients, so that bad ones are found before hours of training.

        Args:
            channels: Those that the network takes; None where it takes each of any number by itself.

        Raises:
            DataError: One cannot be read, or has another number of channels.
        """
        test = self.dataset.select(self.split.test)
        for record in test.slices:
            try:
                image = read_stack(record.path) if test.holds_volumes else test.read(record)
                check_channels(record.path, image, channels or image.shape[-1])
            except DataError as error:
                raise DataError(f"In the test patient {record.patient}: {error}") from error

    def _check_same_data(self, parts: Sequence[SliceDataset], masks: bool) -> None:
        before, self.state.data = self.state.data, digest_of(parts, masks)
        digests = ranks.gathered(self.state.data)
        for number, digest in enumerate(digests):
            if digest != digests[0]:
                raise DataError(
                    f"Rank {number} found other data than rank 0 in {self.dataset.root}: names or contents "
                    "of the slices differ. Give every host the same."
                )
        if not self.resumed or before == self.state.data or (before is None and not self.moved):
            return
        if before is None:
            log.warning(
                "%s was begun by a version that took no note of its data: make sure that %s holds the same.",
                self.out, self.dataset.root,
            )  # fmt: skip
        elif not self.moved:
            log.warning(
                "The data in %s have changed since %s was begun: it resumes with what is there now.",
                self.dataset.root, self.out,
            )  # fmt: skip
        else:
            raise DataError(
                f"{self.dataset.root} does not hold the data that {self.out} was begun with: names or "
                "contents of the slices differ. Give the same data, or choose another folder; "
                "`training.init` starts that from this run's weights."
            )

    def build(self, make: Callable[[], Model]) -> Model:
        """Makes the compiled model in the run's distribution scope, and restores what is trained already.

        Args:
            make: Function without arguments that returns it.
        """
        training = self.config.training
        with strategy_scope(getattr(training, "strategy", "none"), training.batch_size):
            model = make()
            if self.resumed:
                ranks.from_leader(lambda: restore_backup(self.out / BACKUP, model))
                log.info("Resuming at epoch %d, step %d", self.state.epoch + 1, self.state.step + 1)
        share_model(model)
        average_over_ranks(model)
        return model

    def start(self, model: Model, load: Callable[[], None]) -> None:
        """Starts a built model from what lies in the run's folder, which only rank 0 may have.

        Args:
            model: The model.
            load: Function without arguments that gives it its weights.
        """
        ranks.from_leader(load)
        share_model(model)

    def claim(self) -> None:
        """Makes the folder this run's, once bad data and bad options can no longer cost an older run."""
        ranks.from_leader(lambda: claim_run(self.config, self.out, self.split, self.overwrite))

    def fit(
        self,
        model: Model,
        batches: ResumableBatches,
        chain: Sequence[keras.callbacks.Callback],
        finish: Callable[[], None] | None = None,
        until: int | None = None,
    ) -> None:
        """Trains the epochs that are left, with a first one that may be shorter after a restart.

        Args:
            model: The compiled model, restored to `state`.
            batches: Dataset of the patches.
            chain: Callbacks in their order: scores first, then what acts on them.
            finish: Called without arguments after the last epoch. The run is finished only when it returns:
                one that is killed meanwhile calls it again.
            until: Stop after so many epochs, with the run unfinished.

        Raises:
            TrainingInterruptedError: Ctrl-C or SIGTERM; all is saved.
        """
        state, training, started = self.state, self.config.training, time.monotonic()
        backup = cb.Backup(self.out / BACKUP, state)
        agreement = [cb.Agreement(backup)] if ranks.rank_count() > 1 else []
        scores, *rest = chain
        chain = [cb.StartEpoch(batches, state), scores, *agreement, *rest]
        if self.report is not None:
            chain.append(cb.Progress(self.report, state.step))
        # Last: the backup holds what all the others found.
        chain.append(backup)

        def fit(last: int) -> None:
            batches.start(state.epoch, state.step)  # Keras asks for the number of batches before the epoch.
            model.fit(
                batches, initial_epoch=state.epoch, epochs=last, callbacks=chain, shuffle=False, verbose=0
            )

        try:
            if state.step:
                # The rest of a stopped epoch is shorter, and Keras takes all epochs of a fit to be as long.
                fit(state.epoch + 1)
            last = min(until or training.epochs, training.epochs)
            if state.epoch < last and state.epochs_are_left(training):
                fit(last)
        finally:
            backup.release_signals()
        if until is not None and state.epochs_are_left(training):
            return
        if finish is not None:
            finish()
        state.finished = True
        if ranks.leads():
            save_backup(self.out / BACKUP, model, state)
        minutes = (time.monotonic() - started) / 60
        log.info("Trained for %.1f minutes; best epoch %d", minutes, state.best_epoch)

    def about_data(self) -> dict[str, Any]:
        """What `model.json` says about the data."""
        return {
            "root_name": self.dataset.root.name,
            "kind": self.dataset.kind,
            "patient_pattern": self.config.data.patient_pattern,
            **{name: value for name in ("include", "exclude") if (value := getattr(self.config.data, name))},
            "split": self.split.to_dict(),
        }

    def about_training(self, **more: Any) -> dict[str, Any]:
        """What `model.json` says about the training, with `more` beside it."""
        training = self.config.training.to_dict()
        precision = training_precision(training["precision"])
        return {**training, **more, "hardware": hardware(), "precision": precision}


@contextlib.contextmanager
def opened_run(
    config: AnyConfig, out: PathLike, overwrite: bool = False, report: cb.Report | None = None
) -> Iterator[Run]:
    """Yields the `Run` of a folder; nothing is written before `Run.claim`.

    Args:
        config: A `RunConfig`, or the config of another kind of training.
        out: Folder of the run. One that holds a stopped run of the same config is resumed.
        overwrite: Delete what is in `out` and start again.
        report: `report(epoch, step, logs)`, called after each step and, with step None, each epoch.

    Raises:
        ConfigError: `out` holds something else, a run of another config or a finished one, or cannot be
            written.
        DataError: Another process trains in `out`.
    """
    out = pathlib.Path(out)
    strategy = getattr(config.training, "strategy", "none")
    with ranks.joined(strategy), contextlib.ExitStack() as stack:
        check_same_config(config)
        # What is deleted is the run before this one, which torchrun may start several times.
        overwrite = overwrite and not ranks.restarted()

        def opened() -> tuple[RunState, bool]:
            stack.enter_context(held(out))
            return open_run(config, out, overwrite)

        state, moved = ranks.from_leader(opened)
        if strategy == ranks.DISTRIBUTED:
            ranks.check_batch(config.training.batch_size)
        yield Run(config, out, overwrite, state, moved, report if ranks.leads() else None)


def digest_of(parts: Sequence[SliceDataset], masks: bool = False) -> str:
    """A digest of the names below the root, the patients and the contents of all slices, in order.

    Args:
        parts: The parts of one data set.
        masks: Also of their masks.
    """
    digest = hashlib.sha256()
    for dataset in parts:
        for record in dataset.slices:
            name = pathlib.Path(os.path.relpath(record.path, dataset.root)).as_posix()
            digest.update(repr((record.patient, record.index, name)).encode())
            for path in (record.path, record.mask) if masks and record.mask else (record.path,):
                # What cannot be read is refused when the slices are.
                with contextlib.suppress(OSError), path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
