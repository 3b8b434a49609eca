"""KerasTuner's oracles, made to survive: budgets, failures, a killed search, and workers that die."""

import contextlib
import dataclasses
import io
import logging
import math
import pathlib
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_mrisr.errors import ConfigError, MissingDependencyError
from keras_mrisr.files import write_json
from keras_mrisr.tuning.space import SearchSpace

if TYPE_CHECKING:
    from keras_tuner import Oracle as _Base
else:
    _Base = object

log = logging.getLogger(__name__)

TUNERS = ("random", "bayesian", "hyperband")
FACTOR = 3  # Of Hyperband: one trial in so many continues, for so many times as long.
_DRAWS = 200  # Before a space is taken to hold nothing within the budget.
_FAILURES = 3  # Trials in a row, and attempts at one trial.


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a search asks of its oracle.

    Attributes:
        space: The `SearchSpace`.
        epochs: Of a whole training.
        allows: Function of the decoded values: whether such a trial may be drawn.
        first: Decoded values of the first trial, the recipe as it stands.
        lease: Seconds after which a silent worker is taken for dead; None for a search in one process.
        deadline: `time.monotonic()` after which no trial is begun; None for no end.
        report: Function of the oracle, called after each trial.
    """

    space: SearchSpace
    epochs: int
    allows: Callable[[Mapping[str, Any]], bool]
    first: dict[str, Any] = dataclasses.field(default_factory=dict)
    lease: float | None = None
    deadline: float | None = None
    report: Callable[[Any], None] | None = None


class Steady(_Base):
    """Mixin before an oracle of KerasTuner.

    Its files are written whole, so that a search killed at any moment resumes: trials that were in work are
    taken up again, one that was only half begun is drawn again. A worker that falls silent loses its trial to
    the next one that asks; until all trials have ended, nobody is sent home.

    Args:
        rules: The `Rules`.
        **kwargs: Arguments of the oracle.
    """

    # KerasTuner's.
    end_order: list[str]
    _retry_queue: list[str]

    def __init__(self, rules: Rules, **kwargs: Any) -> None:
        # The limit on failures in a row would raise with KerasTuner's lock held; see `_give_up`.
        super().__init__(**kwargs, max_retries_per_trial=1, max_consecutive_failed_trials=10**9)
        self.rules = rules
        self.verbose = 0
        self.given_up: str | None = None
        self.closed = False
        self._seen: dict[str, float] = {}
        self._attempts: dict[str, int] = {}

    # What is drawn.

    def _random_values(self) -> dict[str, Any] | None:
        if not self.trials and self.rules.first is not None:
            first = self._first_values()
            if first is not None:
                return first
        for _ in range(_DRAWS):
            values = super()._random_values()
            if values is None or self._allowed(values):
                return values
        return None

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        response = super().populate_space(trial_id)
        values = response.get("values")
        if values and "tuner/trial_id" not in values and not self._allowed(values):
            # A proposal of the Gaussian process, which knows nothing of budgets.
            values = self._random_values()
            status = TrialStatus.STOPPED if values is None else TrialStatus.RUNNING
            return {"status": status, "values": values}
        return response

    def _allowed(self, values: Mapping[str, Any]) -> bool:
        return self.rules.allows(self.rules.space.decode(values))

    def _first_values(self) -> dict[str, Any] | None:
        """The recipe as it stands as far as the space has its values, and chance for the others."""
        drawn = super()._random_values()
        if drawn is None:
            return None
        hp = keras_tuner.HyperParameters()
        hp.values = dict(drawn)
        for parameter in self.rules.space.parameters:
            value = parameter.encode(self.rules.first.get(parameter.key))
            if value is not None:
                hp.values[parameter.key] = value
        self.rules.space.declare(hp)  # Gives what has become active a value.
        active = self.rules.space.decode(hp.values)
        values = {key: hp.values[key] for key in active}
        return values if self._allowed(values) else None

    # The life of a trial.

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Any:
        self._seen[tuner_id] = time.monotonic()
        self.reclaim()
        late = self.rules.deadline is not None and time.monotonic() > self.rules.deadline
        done = late or self.given_up is not None
        trial = self._nothing_to_do(tuner_id) if done else super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            # Somebody must be there to take over, should the worker of one of them die.
            trial.status = TrialStatus.IDLE
            self.tuner_ids.add(tuner_id)
        if trial.status == TrialStatus.STOPPED:
            self.closed = True
        return trial

    def _nothing_to_do(self, tuner_id: str) -> Any:
        if tuner_id in self.ongoing_trials:
            return self.ongoing_trials[tuner_id]
        self.tuner_ids.discard(tuner_id)
        return keras_tuner.engine.trial.Trial(self.get_space(), "none", TrialStatus.STOPPED)

    @keras_tuner.synchronized
    def end_trial(self, trial: Any) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as said:  # KerasTuner prints of retries.
            super().end_trial(trial)
        for line in said.getvalue().split("\n"):
            if line.strip():
                log.warning("%s", line.strip())
        self._seen.pop(trial.trial_id, None)
        self._give_up()
        if self.rules.report is not None:
            self.rules.report(self)

    def _give_up(self) -> None:
        last = [self.trials[trial_id] for trial_id in self.end_order[-_FAILURES:]]
        if len(last) == _FAILURES and all(trial.status == TrialStatus.FAILED for trial in last):
            self.given_up = last[-1].trial_id

    # Workers.

    def get_trial(self, trial_id: str) -> Any:
        # Workers ask for their trial every now and then to show that they are alive.
        self._seen[trial_id] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def reclaim(self) -> None:
        """Takes the trials of silent workers away from them, and forgets such workers."""
        if self.rules.lease is None:
            return
        now = time.monotonic()
        for tuner_id in {*self.tuner_ids, *self.ongoing_trials}:
            trial = self.ongoing_trials.get(tuner_id)
            seen = self._seen.setdefault(tuner_id, now)
            if trial is not None:
                seen = max(seen, self._seen.get(trial.trial_id, seen))
            if now - seen <= self.rules.lease:
                continue
            self.tuner_ids.discard(tuner_id)
            self._seen.pop(tuner_id)
            if trial is not None:
                del self.ongoing_trials[tuner_id]
                self._take_back(trial, tuner_id)

    def _take_back(self, trial: Any, tuner_id: str) -> None:
        attempts = self._attempts[trial.trial_id] = self._attempts.get(trial.trial_id, 0) + 1
        if attempts < _FAILURES:
            log.warning("Worker %s is silent: its trial %s goes to another.", tuner_id, trial.trial_id)
            self._retry_queue.append(trial.trial_id)
        else:
            # It may be the trial that kills them, for want of memory.
            log.warning("Trial %s is given up after %d workers died with it.", trial.trial_id, attempts)
            trial.status = TrialStatus.FAILED
            self.end_order.append(trial.trial_id)
            self._save_trial(trial)
        self.save()

    @property
    def is_over(self) -> bool:
        """Whether no worker is needed any more."""
        if self.ongoing_trials or self.tuner_ids:
            return False
        return self.closed or (len(self.trials) >= self.max_trials and not self._retry_queue)

    # Files.

    def save(self) -> None:
        write_json(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial: Any) -> None:
        folder = pathlib.Path(self._get_trial_dir(trial.trial_id))
        write_json(folder / "trial.json", trial.get_state())

    def reload(self) -> None:
        """Resumes from the files of an earlier search in the same folder; trials that failed are run again.

        Raises:
            ConfigError: They cannot be read.
        """
        try:
            super().reload()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"The search in {self._project_dir} cannot be gone on with ({reason}). Choose another `out`, "
                "or pass `overwrite=True` to start again."
            ) from error
        # Killed after a trial's file was written, before the oracle's: as if it had never been drawn.
        for trial_id in set(self.trials) - set(self.start_order):
            del self.trials[trial_id]
        for trial_id in [name for name in self._retry_queue if self.trials[name].status == "COMPLETED"]:
            self._retry_queue.remove(trial_id)
            self.end_order.append(trial_id)
        self._run_failed_again()
        if self.rules.lease is not None:
            # Its worker may well be alive, and shows it before the lease is over.
            for tuner_id, trial in self._were_ongoing.items():
                if trial.trial_id in self._retry_queue:
                    self._retry_queue.remove(trial.trial_id)
                    self.ongoing_trials[tuner_id] = trial
                    self.tuner_ids.add(tuner_id)

    def _run_failed_again(self) -> None:
        """Queues the trials that failed, as what was wrong may be mended; not those that killed workers."""
        failed = [
            trial.trial_id
            for trial in self.ended
            if trial.status == TrialStatus.FAILED and self._run_times[trial.trial_id]
        ]
        if not failed:
            return
        log.info("Run again because they failed: trials %s", ", ".join(failed))
        self.end_order = [trial_id for trial_id in self.end_order if trial_id not in failed]
        self._run_times.update(dict.fromkeys(failed, 0))
        self._retry_queue = [*reversed(failed), *self._retry_queue]  # Taken from its end.

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._were_ongoing = dict(self.ongoing_trials)

    # Progress.

    def epochs_of(self, trial: Any) -> int:
        """Epochs that a trial trains itself, without those of the trial that it continues."""
        values = trial.hyperparameters.values
        return values.get("tuner/epochs", self.rules.epochs) - values.get("tuner/initial_epoch", 0)

    def planned_epochs(self) -> int:
        """Epochs of all trials of the search."""
        return self.max_trials * self.rules.epochs

    @property
    def ended(self) -> list[Any]:
        """The trials that are done with, in the order of their end."""
        return [self.trials[trial_id] for trial_id in self.end_order]


class RandomOracle(Steady, keras_tuner.oracles.RandomSearchOracle):
    """Random search."""


class BayesianOracle(Steady, keras_tuner.oracles.BayesianOptimizationOracle):
    """Search by a Gaussian process, after some random trials."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        with warnings.catch_warnings():
            # That the process is sure of itself after a handful of trials is no news to anybody.
            warnings.simplefilter("ignore", category=UserWarning)
            return super().populate_space(trial_id)


class HyperbandOracle(Steady, keras_tuner.oracles.HyperbandOracle):
    """Hyperband (Li et al. 2018): many short trials, of which the best go on."""

    def __init__(self, rules: Rules, max_trials: int | None = None, **kwargs: Any) -> None:
        super().__init__(rules, max_epochs=rules.epochs, factor=FACTOR, **kwargs)
        # KerasTuner's has no limit on trials but the whole sweeps.
        self.max_trials = max_trials or len(self.sweep())
        self.hyperband_iterations = math.ceil(self.max_trials / len(self.sweep()))

    def set_state(self, state: dict[str, Any]) -> None:
        iterations = self.hyperband_iterations
        super().set_state(state)
        self.hyperband_iterations = iterations  # More trials may be asked for than before.

    def sweep(self) -> list[int]:
        """Epochs of each trial of one sweep through all brackets, in the order of their start."""
        trials: list[int] = []
        for bracket in reversed(range(self._get_num_brackets())):
            before = 0
            for round_number in range(self._get_num_rounds(bracket)):
                epochs = self._get_epochs(bracket, round_number)
                trials += [epochs - before] * self._get_size(bracket, round_number)
                before = epochs
        return trials

    def planned_epochs(self) -> int:
        sweep = self.sweep()
        return sum(sweep[i % len(sweep)] for i in range(self.max_trials))


def make_oracle(tuner: str, rules: Rules, max_trials: int | None = None, seed: int = 0) -> Any:
    """Makes the oracle of a search.

    Args:
        tuner: "random", "bayesian" or "hyperband".
        rules: The `Rules`.
        max_trials: Trials of the whole search; by default 10, or one sweep of Hyperband.
        seed: Of what is random.

    Raises:
        ConfigError: Unknown tuner, or what it needs is not installed.
    """
    if tuner not in TUNERS:
        raise ConfigError(f"Unknown tuner {tuner!r}. Known: {', '.join(TUNERS)}.")
    hp = keras_tuner.HyperParameters()
    rules.space.declare(hp)
    arguments = {
        "objective": keras_tuner.Objective("score", "max"),
        "hyperparameters": hp,
        "seed": seed + 1,  # KerasTuner takes 0 for none.
    }
    if tuner == "hyperband":
        return HyperbandOracle(rules, max_trials, **arguments)
    if tuner == "random":
        return RandomOracle(rules, max_trials=max_trials or 10, **arguments)
    try:
        return BayesianOracle(rules, max_trials=max_trials or 10, **arguments)
    except ImportError as error:
        raise MissingDependencyError(
            "Bayesian search needs scikit-learn: pip install scikit-learn"
        ) from error
