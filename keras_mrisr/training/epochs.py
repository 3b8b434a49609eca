"""The epochs of a run, whatever it trains: from where it stopped to the end."""

import logging
import time

from keras_mrisr.training import callbacks as cb
from keras_mrisr.training.state import save_backup

log = logging.getLogger(__name__)


def run_epochs(
    model, batches, state, epochs, backups, chain, keep_best, report=None, finish=None, until=None
):
    """Fits the epochs that are left, with a first one that may be shorter after a restart.

    Args:
        model: The compiled model, restored to `state`.
        batches: Dataset with `start(epoch, step)`, such as `PatchDataset`.
        state: The `RunState`; says in the end that the run is finished.
        epochs: Number of the last epoch.
        backups: Folder of the backups.
        chain: Callbacks in their order: scores first, then what acts on them.
        keep_best: The `KeepBest` in the chain, which may end the run early.
        report: `report(epoch, step, logs)`, see `train`.
        finish: Called without arguments after the last epoch. The run is finished only when it returns: one
            that is killed meanwhile calls it again.
        until: Stop after so many epochs, with the run unfinished.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; all is saved.
    """
    chain = [cb.StartEpoch(batches, state), *chain]
    if report is not None:
        chain.append(cb.Progress(report, state.step))
    # Last: the backup holds what all the others found.
    backup = cb.Backup(backups, state)
    chain.append(backup)
    started = time.monotonic()
    last = epochs if until is None else min(until, epochs)

    def fit(last):
        batches.start(state.epoch, state.step)  # Keras asks for the number of batches before the epoch.
        model.fit(batches, initial_epoch=state.epoch, epochs=last, callbacks=chain, shuffle=False, verbose=0)

    try:
        if state.step:
            # The rest of a stopped epoch is shorter, and Keras takes all epochs of a fit to be as long.
            fit(state.epoch + 1)
        if state.epoch < last and not keep_best.exhausted(state.epoch):
            fit(last)
    finally:
        backup.release_signals()
    if until is not None and state.epoch < epochs and not keep_best.exhausted(state.epoch):
        return
    if finish is not None:
        finish()
    state.finished = True
    save_backup(backups, model, state)
    log.info("Trained for %.1f minutes; best epoch %d", (time.monotonic() - started) / 60, state.best_epoch)
