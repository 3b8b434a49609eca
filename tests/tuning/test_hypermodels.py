"""Our hypermodels under KerasTuner's own tuners."""

import keras_tuner
import numpy as np
import pytest

from keras_mrisr.data.pipeline import PatchDataset
from keras_mrisr.tuning import GeneratorHyperModel, SRGANHyperModel, read_study
from keras_mrisr.tuning.hypermodels import WORST

pytestmark = [
    pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning"),
]


def moments(model):
    return np.concatenate([np.ravel(variable) for variable in model.optimizer.variables])


def test_hyperband_keeps_the_moments(rates, tmp_path):
    study = rates.fixed("training.epochs", 2)
    tuner = keras_tuner.Hyperband(
        GeneratorHyperModel(study),
        objective=keras_tuner.Objective("val_psnr", "max"),
        max_epochs=2,
        factor=2,
        hyperband_iterations=1,
        seed=1,
        directory=tmp_path,
        project_name="search",
    )
    tuner.oracle.max_trials = 3  # Two of one epoch, of which one goes on.
    tuner.search(verbose=0)
    trials = list(tuner.oracle.trials.values())
    assert len(trials) == 3 and all(trial.status == "COMPLETED" for trial in trials)
    promoted = next(trial for trial in trials if "tuner/trial_id" in trial.hyperparameters.values)
    model = tuner._build_hypermodel(promoted.hyperparameters)
    # One epoch of two steps lies behind it: neither the count nor the moments begin anew.
    assert int(model.optimizer.iterations) == 2
    assert np.abs(moments(model)).max() > 0
    fresh = tuner.hypermodel.build(promoted.hyperparameters)
    assert int(fresh.optimizer.iterations) == 0
    best = tuner.get_best_hyperparameters()[0]
    assert tuner.hypermodel.config(best).training.learning_rate == float(
        f"{best['training.learning_rate']:.4g}"
    )
    assert tuner.get_best_models()[0](np.zeros((1, 4, 4, 1), "float32")).shape == (1, 8, 8, 1)


@pytest.fixture(scope="module")
def gan_study(study_file, models):
    space = {"adversarial.adversarial_weight": {"type": "float", "min": 1e-4, "max": 1e-2, "log": True}}
    config = {
        "adversarial.features": {"network": "vgg16", "layers": "block1_conv1", "weights": None},
        "adversarial.discriminator": {"name": "patchgan", "filters": 2, "normalization": "spectral"},
        "adversarial.rollbacks": 1,
    }
    return read_study(study_file(space, "gan", stage="adversarial", config=config)).starting_from(
        str(models["grey"])
    )


def test_srgan(gan_study, models):
    hypermodel = SRGANHyperModel(gan_study)
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    assert model.optimizer.built
    history = hypermodel.fit(hp, model, epochs=1)
    assert {"val_psnr", "val_score", "val_features", "ill"} <= set(history.history)
    assert int(model.optimizer.iterations) == 2
    # The gain is that over the start in training.init, also of a trial that was promoted.
    starts = []
    for found in (history, hypermodel.fit(hp, model, epochs=2, initial_epoch=1)):
        row = {name: values[0] for name, values in found.history.items()}
        starts.append(row["val_psnr"] - 20 * np.log10(row["val_features"]) - row["val_score"])
    assert starts[1] == pytest.approx(starts[0], abs=1e-3)


def test_a_sick_training_returns_numbers(rates, monkeypatch):
    make = PatchDataset.__getitem__

    def poisoned(self, index):
        lr, hr = make(self, index)
        return lr, hr * np.nan

    hypermodel = GeneratorHyperModel(rates)
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    monkeypatch.setattr(PatchDataset, "__getitem__", poisoned)
    assert hypermodel.fit(hp, model) == WORST
    assert np.isfinite(list(WORST.values())).all()


def test_studies_of_another_stage(rates, gan_study):
    with pytest.raises(ValueError, match="the study is of the stage 'generator', not 'adversarial'"):
        SRGANHyperModel(rates)
    with pytest.raises(ValueError, match="the study is of the stage 'adversarial', not 'generator'"):
        GeneratorHyperModel(gan_study)
