import pytest

from keras_mrisr.evaluation import make_study


@pytest.fixture(scope="session")
def make(study, pattern, upscaler, tmp_path_factory):
    """A function (kind, ...) -> (path of the page, its `Study`), of a sharper model A and a softer one B."""

    def make(kind="nearer", cases=4, catch=2, **options):
        page = tmp_path_factory.mktemp("readers") / "study.html"
        models = {"model-alpha": upscaler(0.2), "model-beta": upscaler(-0.9)}
        given = {"patient_pattern": pattern, "cases": cases, "catch": catch, "seed": 3, **options}
        return page, make_study(models, study, page, kind=kind, **given)

    return make
