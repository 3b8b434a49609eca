import json

import pytest
import yaml

SPACE = {
    "generator.name": {"type": "choice", "values": ["srresnet", "edsr"]},
    "generator.blocks": {"type": "int", "min": 1, "max": 4},
    "generator.batch_norm": {"type": "boolean", "when": {"generator.name": "srresnet"}},
    "generator.residual_scaling": {"type": "float", "min": 0.1, "max": 1, "when": {"generator.name": "edsr"}},
    "training.learning_rate": {"type": "float", "min": 1e-4, "max": 1e-2, "log": True},
}


@pytest.fixture(autouse=True)
def _quick(without_pictures):
    pass


@pytest.fixture(scope="session")
def study_file(tmp_path_factory, image_root):
    """A function (space, keys of the file, name) -> path of a study whose trials take a second."""
    folder = tmp_path_factory.mktemp("studies")

    def write(space=None, name="tiny", **keys):
        config = {
            "generator": {"name": "edsr", "blocks": 1, "filters": 4},
            "degradation": {"name": "bicubic"},
            "data.root": str(image_root),
            "training.patch_size": 16,
            "training.batch_size": 2,
            "training.steps_per_epoch": 2,
            "training.epochs": 1,
            "training.validation_slices": 1,
            **keys.pop("config", {}),
        }
        values = {"stage": "generator", **keys, "config": config, "space": SPACE if space is None else space}
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


@pytest.fixture(scope="session")
def rates(study_file):
    """The `Study` of one learning rate, the cheapest that there is."""
    from keras_mrisr.tuning import read_study

    space = {"training.learning_rate": {"type": "float", "min": 1e-4, "max": 1e-2, "log": True}}
    return read_study(study_file(space, "rates"))


@pytest.fixture
def made_search(tmp_path, study_file):
    """A function (rows) -> folder of a search with these trials, which nobody trained."""

    def make(rows, name="made"):
        from keras_mrisr.tuning import read_study, write_study

        folder = tmp_path / name
        write_study(read_study(study_file()), folder / "study.yaml")
        for number, row in enumerate(rows):
            row = dict(row)
            trial = folder / f"trial_{number:02d}"
            trial.mkdir()
            values = {
                "generator.name": "edsr",
                "generator.blocks": 1 + number % 4,
                "generator.residual_scaling": 0.5,
                "training.learning_rate": 1e-4 * (1 + number),
                **row.pop("values", {}),
            }
            status = row.pop("status", "COMPLETED")
            state = {"status": status, "score": row.get("score"), "hyperparameters": {"values": values}}
            (trial / "trial.json").write_text(json.dumps(state))
            if row:
                gflops = 0.1 * (1 + number % 5)
                result = {"parameters": 5000 + number, "gflops": gflops, "epochs": 3, "psnr": 30.0, **row}
                (trial / "result.json").write_text(json.dumps({"values": values, **result}))
        return folder

    return make
