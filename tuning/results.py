"""What a search found: its trials ranked, and which of them nothing beats."""

import dataclasses
import json
import math
import pathlib
from typing import Any

from keras_mrisr.config import write_config
from keras_mrisr.errors import ConfigError
from keras_mrisr.files import write_csv
from keras_mrisr.tuning.study import Study, read_study
from keras_mrisr.types import PathLike

FINISHED, ILL, FAILED, RUNNING = "finished", "ill", "failed", "running"
TABLE = "trials.csv"
_TRIAL, _RESULT, _STUDY = "trial.json", "result.json", "study.yaml"


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One trial of a search.

    Attributes:
        name: Its number as KerasTuner writes it.
        status: "finished", "ill" (it has the worst score), "failed" or "running" (or stopped on the way).
        values: {key of the space: value}.
        score: In dB; None unless finished or ill.
        epochs: Epochs that it was trained for.
        folder: Of the trial; `run` in it is the trained model.
        facts: The other numbers of `result.json`: psnr, ssim, perceptual, parameters, gflops, seconds, ...
        reason: Why it fell ill or failed.
    """

    name: str
    status: str
    values: dict[str, Any]
    score: float | None
    epochs: int
    folder: pathlib.Path
    facts: dict[str, Any]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class SearchResults:
    """All trials of a search.

    Attributes:
        folder: Of the search.
        study: Its `Study`.
        trials: Tuple of `TrialRecord`: the healthy ones from best to worst, then the ill, then the others.
    """

    folder: pathlib.Path
    study: Study
    trials: tuple[TrialRecord, ...]

    @property
    def healthy(self) -> list[TrialRecord]:
        """The finished trials, best first."""
        return [trial for trial in self.trials if trial.status == FINISHED]

    def find(self, name: str) -> TrialRecord:
        """The trial of that name.

        Raises:
            ConfigError: There is none.
        """
        for trial in self.trials:
            if trial.name == name:
                return trial
        raise ConfigError(f"{self.folder} has no trial {name!r}.")

    def best(self) -> TrialRecord:
        """The trial with the highest score.

        Raises:
            ConfigError: No trial finished, or all that did fell ill.
        """
        if self.healthy:
            return self.healthy[0]
        ill = [trial for trial in self.trials if trial.status == ILL]
        if ill:
            raise ConfigError(
                f"All {len(ill)} trials of {self.folder} that ended fell ill, the last one: {ill[-1].reason} "
                "Search lower learning rates."
            )
        failed = [trial for trial in self.trials if trial.status == FAILED]
        why = f", the last failed with: {failed[-1].reason}" if failed else ""
        raise ConfigError(
            f"No trial of {self.folder} has finished yet{why}. Run mrisr tune again: it resumes."
        )

    def front(self, cost: str = "gflops") -> list[TrialRecord]:
        """The trials that none beats in both score and cost, cheapest first.

        Of the rungs of Hyperband that one network climbed only the best counts.

        Args:
            cost: "gflops" or "parameters".
        """
        front: list[TrialRecord] = []
        highest = -math.inf
        # Healthy trials have a score.
        ranked = [(trial.facts[cost], -(trial.score or 0.0), trial) for trial in self.healthy]
        for _, worse, trial in sorted(ranked, key=lambda row: row[:2]):
            if -worse > highest:
                front.append(trial)
                highest = -worse
        return front

    def write_best(self, path: PathLike) -> TrialRecord:
        """Writes the config of the best trial, for `mrisr train --config`.

        Args:
            path: YAML file.

        Returns:
            The `TrialRecord`.
        """
        best = self.best()
        write_config(self.study.run_config(best.values), path)
        return best

    def write_table(self, path: PathLike) -> None:
        """Writes all trials as CSV, in their order."""
        keys = self.study.space.keys
        facts = list(dict.fromkeys(key for trial in self.trials for key in trial.facts))
        rows = (
            {
                "trial": trial.name,
                "status": trial.status,
                "score": trial.score,
                "epochs": trial.epochs,
                **trial.facts,
                **trial.values,
                "reason": trial.reason,
            }
            for trial in self.trials
        )
        write_csv(path, ["trial", "status", "score", "epochs", *facts, *keys, "reason"], rows)


def read_results(folder: PathLike) -> SearchResults:
    """Reads a search, finished or not. Needs neither Keras nor KerasTuner.

    Args:
        folder: Of the search.

    Raises:
        ConfigError: It is none, or a file of it is broken.
    """
    folder = pathlib.Path(folder)
    if not (folder / _STUDY).is_file():
        raise ConfigError(
            f"{folder} is no search: {_STUDY} is missing. Give the folder that mrisr tune wrote."
        )
    study = read_study(folder / _STUDY)
    trials = [_read_trial(study, path.parent) for path in sorted(folder.glob(f"trial_*/{_TRIAL}"))]
    order = (FINISHED, ILL, FAILED, RUNNING)
    trials.sort(key=lambda trial: (order.index(trial.status), -(trial.score or 0)))
    return SearchResults(folder, study, tuple(trials))


def _read_trial(study: Study, folder: pathlib.Path) -> TrialRecord:
    state = _read(folder / _TRIAL)
    result = _read(folder / _RESULT) if (folder / _RESULT).is_file() else {}
    facts = {key: value for key, value in result.items() if key not in _OWN and value is not None}
    status = _status(state["status"], result)
    reason = result.get("ill") or result.get("failed")
    return TrialRecord(
        name=folder.name.removeprefix("trial_"),
        status=status,
        values=study.space.decode(state["hyperparameters"]["values"]),
        score=result.get("score") if status in (FINISHED, ILL) else None,
        epochs=result.get("epochs", 0),
        folder=folder,
        facts=facts,
        reason=reason or ("its workers died with it" if status == FAILED else ""),
    )


def _status(said: str, result: dict[str, Any]) -> str:
    """The status of a trial, from KerasTuner's and our own result."""
    if said == "COMPLETED" and result:
        return ILL if result.get("ill") else FINISHED
    return FAILED if said == "FAILED" else RUNNING


_OWN = ("values", "score", "epochs", "ill", "failed")  # Of a result, what a record has fields for.


def _read(file: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}. Move its folder away, or restore it.") from error
