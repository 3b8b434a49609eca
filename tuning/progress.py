"""What a running search says after each trial."""

import logging
import time
from typing import Any

log = logging.getLogger(__name__)


class Reporter:
    """Logs how many trials are done, the best so far, and the time that is left.

    The time is that of an epoch since this process began, over all workers, times the epochs to come:
    epochs differ between trials, so it is a rough number.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._epochs_before = None

    def __call__(self, oracle: Any) -> None:
        """Called by the oracle after each trial.

        Args:
            oracle: A `Steady` oracle.
        """
        ended = oracle.ended
        if not ended:
            return  # It will be tried once more.
        done = sum(oracle.epochs_of(trial) for trial in ended)
        if self._epochs_before is None:
            self._epochs_before = done - oracle.epochs_of(ended[-1])
        pace = (time.monotonic() - self._started) / max(done - self._epochs_before, 1)
        left = pace * max(oracle.planned_epochs() - done, 0)
        best = oracle.get_best_trials(1)[0]
        found = "none yet" if best.score is None else f"{best.score:.3f} dB (trial {best.trial_id})"
        log.info(
            "%d of %d trials done, best score %s, about %s left",
            len(ended), oracle.max_trials, found, duration(left),
        )  # fmt: skip


def duration(seconds: float) -> str:
    """Seconds for a person: "45 s", "12 min" or "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
