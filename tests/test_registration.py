import ast
import importlib.util
import pathlib
import subprocess
import sys

import pytest

from keras_mrisr import registration
from keras_mrisr.models import edsr

# Prints what is registered, and which modules of the package it took.
CHILD = """
import sys
{imports}
model = keras.saving.load_model({path!r})
print(model.name, keras.saving.get_registered_object("keras_mrisr>SRGAN"))
print(*(name for name in sys.modules if name.startswith("keras_mrisr.")))
"""
BEFORE = "import keras, keras_mrisr"
# Here a package of ours is half read when Keras is imported.
AFTER = """
import keras_mrisr
assert not {"keras", "tensorflow", "numpy"} & {*sys.modules}
import keras_mrisr.metrics, keras
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "generator.keras"
    edsr(2, 1, blocks=1, filters=8).save(path)
    return path


@pytest.mark.parametrize("imports", [BEFORE, AFTER])
def test_a_model_loads_whichever_is_imported_first(saved, imports):
    code = CHILD.format(imports=imports, path=str(saved))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("edsr <class 'keras_mrisr.training.srgan.SRGAN'>")
    packages = {name.partition(".")[0] for name in registration._MODULES}
    for name in done.stdout.splitlines()[1].split():
        if name.split(".")[1] not in packages:
            assert not imports_keras(name), f"{name} must import Keras where it is used: see `registration`"


def imports_keras(name):
    tree = ast.parse(pathlib.Path(importlib.util.find_spec(name).origin).read_text())
    modules = [one.module for one in tree.body if isinstance(one, ast.ImportFrom)]
    modules += [alias.name for one in tree.body if isinstance(one, ast.Import) for alias in one.names]
    return any(module.split(".")[0] == "keras" for module in modules)
