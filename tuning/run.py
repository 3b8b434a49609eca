"""A whole search: from a study to a folder of trained trials."""

import contextlib
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from keras_mrisr.config import RunConfig
from keras_mrisr.data import SliceDataset
from keras_mrisr.errors import ConfigError, MissingDependencyError, MrisrError
from keras_mrisr.files import held
from keras_mrisr.tuning.budget import Budget
from keras_mrisr.tuning.cluster import Place, await_chief, check_port, environment, serve
from keras_mrisr.tuning.data import checked_data
from keras_mrisr.tuning.folder import STUDY, Strategy, check_folder, check_same, claim_folder
from keras_mrisr.tuning.results import read_results
from keras_mrisr.tuning.study import Study, check_options, check_study, present_values
from keras_mrisr.types import PathLike, Progress

LEASE = 120.0  # Seconds.


def search(
    study: Study,
    out: PathLike,
    tuner: str = "hyperband",
    max_trials: int | None = None,
    budget: Budget | None = None,
    seed: int = 0,
    dataset: SliceDataset | None = None,
    overwrite: bool = False,
    place: Place | None = None,
    lease: float = LEASE,
    wait: float = 120.0,
    progress: Progress | None = None,
) -> pathlib.Path:
    """Searches a study, or resumes a search that was stopped or is to have more trials.

    `out` then holds `study.yaml`, `search.json`, KerasTuner's `oracle.json`, and for each trial a folder
    `trial_<number>`: `trial.json` (KerasTuner's), `result.json` (ours), `run` (a trained model directory with
    config, curves and images) and `hparams` for TensorBoard.

    Args:
        study: A `Study`.
        out: Folder of the search, shared by all machines of it.
        tuner: "random", "bayesian" or "hyperband": few epochs for many trials, more for the best.
        max_trials: Trials in all; by default 10, or one sweep of Hyperband.
        budget: A `Budget`.
        seed: Of the choice of trials. The trainings' own is `training.seed`.
        dataset: A `SliceDataset`; by default it is read from the study's `data`.
        overwrite: Delete the search that is in `out`.
        place: A `cluster.Place` in a search by several processes: the chief chooses, workers train. All are
            given the same arguments.
        lease: Seconds of silence after which a worker is taken for dead, and its trial goes to another.
        wait: Seconds that a worker waits for the chief to answer.
        progress: `progress(done, total)` in epochs.

    Returns:
        The `pathlib.Path` of the search.

    Raises:
        ConfigError: A study or data of no use, no weights of the network that judges, an `out` of another
            search, no chief or no port, trials that fail one after the other, or nothing within the budget.
        DataError: Another process searches in `out`.
        TrainingInterruptedError: Ctrl-C or SIGTERM; all is kept, and the same call resumes.
    """
    try:
        import keras_tuner  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("The search needs KerasTuner: pip install keras-tuner") from error
    from keras_mrisr.training import TrainingInterruptedError
    from keras_mrisr.tuning.objective import judge_network
    from keras_mrisr.tuning.tuner import StudyTuner

    out = pathlib.Path(out)
    _check_seconds("lease", lease)
    _check_seconds("wait", wait)
    budget = budget or Budget()
    check_study(study)
    strategy = Strategy(tuner, seed, budget.to_dict())
    is_worker = place is not None and place.role == "worker"
    # Workers share the folder, which the chief holds.
    with contextlib.nullcontext() if is_worker else held(out):
        if not is_worker:
            check_folder(study, strategy, out, overwrite)
        dataset, channels = checked_data(study, dataset)
        oracle = _make_oracle(study, strategy, budget, max_trials, channels, place, lease)
        if study.objective != "psnr" and (place is None or is_worker):
            judge_network(study)  # Without its weights no trial could be scored.
        try:
            _begin(study, strategy, out, overwrite, place, wait)
            with environment(place):  # Which the tuner asks already when it is made.
                _run(StudyTuner(study, oracle, out, dataset, lease, progress), place)
        except KeyboardInterrupt as error:
            raise TrainingInterruptedError from error
        if not is_worker:
            _check_outcome(oracle, out)
    return out


def _begin(
    study: Study, strategy: Strategy, out: pathlib.Path, overwrite: bool, place: Place | None, wait: float
) -> None:
    """A worker awaits its chief; others say in the folder of a search what is searched."""
    if place is not None and place.role == "worker":
        _await(study, strategy, out, place, wait)
        return
    if place is not None:
        check_port(place)
    claim_folder(study, strategy, out, overwrite, alone=place is None)


def _check_seconds(name: str, seconds: float) -> None:
    if not 0 < seconds < math.inf:
        raise ConfigError(f"`{name}` must be more than 0 seconds. Received: {seconds:g}")


def _run(runner: Any, place: Place | None) -> None:
    if place is None:
        runner.search()
        return
    if place.role == "chief":
        runner.save()
        serve(runner.oracle, place)
        return
    import grpc

    try:
        runner.search()
    except grpc.RpcError as error:
        raise ConfigError(
            f"The chief at {place.address} does not answer any more ({error.code().name}). Start it again "
            "with the same words: the search resumes."
        ) from error


def _make_oracle(
    study: Study,
    strategy: Strategy,
    budget: Budget,
    max_trials: int | None,
    channels: int,
    place: Place | None,
    lease: float,
) -> Any:
    from keras_mrisr.tuning.oracles import Rules, make_oracle
    from keras_mrisr.tuning.progress import Reporter

    if max_trials is not None and max_trials < 1:
        raise ConfigError(f"`max_trials` must be 1 or more. Received: {max_trials}")
    if strategy.tuner == "hyperband" and "training.epochs" in study.space.keys:
        raise ConfigError("Hyperband decides on the epochs itself: `training.epochs=N`, or `tuner='random'`.")
    rules = Rules(
        space=study.space,
        epochs=study.config.training.epochs,
        allows=_gate(study, budget, channels),
        first=present_values(study),
        lease=None if place is None else lease,
        deadline=None if budget.hours is None else time.monotonic() + 3600 * budget.hours,
        report=Reporter(),
    )
    return make_oracle(strategy.tuner, rules, max_trials, strategy.seed)


def _gate(study: Study, budget: Budget, channels: int) -> Callable[[Mapping[str, Any]], bool]:
    """A function of values: whether they make a config, and one within the budget."""

    def allows(values: Mapping[str, Any]) -> bool:
        try:
            config = study.run_config(values)
            check_options(config)
            return not budget.limits_networks or budget.allows(_cost(config, channels))
        except MrisrError:
            return False

    return allows


def _cost(config: RunConfig, channels: int) -> Any:
    from keras_mrisr.models.registry import build_generator
    from keras_mrisr.tuning.budget import inference_cost

    return inference_cost(
        build_generator(
            scale=config.scale, channels=channels, neighbours=config.data.neighbours, **config.generator
        )
    )


def _await(study: Study, strategy: Strategy, out: pathlib.Path, place: Place, wait: float) -> None:
    """Waits for the chief, which writes the study before it listens, and checks that it is the same."""
    await_chief(place, wait)
    if not (out / STUDY).is_file():
        raise ConfigError(
            f"The chief at {place.address} does not search in {out}: all must share this folder."
        )
    check_same(study, strategy, out)


def _check_outcome(oracle: Any, out: pathlib.Path) -> None:
    """Raises ConfigError for a search that found nothing."""
    if not oracle.trials:
        raise ConfigError(
            f"No trial of {out}: nothing in the space is within the budget. Raise it, or widen the space."
        )
    results = read_results(out)
    if oracle.given_up:
        reason = results.find(oracle.given_up).reason
        raise ConfigError(
            f"Three trials in a row failed, the last with: {reason} Mend that: the same command runs them "
            "again. To change the command, choose another `out`, or pass `overwrite=True` to start again."
        )
    results.best()
