import importlib
import inspect
import os
import pathlib
import pkgutil
import re
import runpy
import subprocess
import sys

import lazy_loader
import pytest
import setuptools
import yaml

import keras_mrisr

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def arguments():
    return setup_arguments()


def setup_arguments(url=""):
    """What setup.py gives to `setup`, built for a repository at this address."""
    found = {}
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.chdir(ROOT)
        context.setenv("MRISR_PROJECT_URL", url)
        context.setattr(setuptools, "setup", found.update)
        runpy.run_path("setup.py")
    return found


def test_a_release_links_to_its_repository(arguments):
    assert arguments["project_urls"] == {} and "](docs/images/" in arguments["long_description"]
    made = setup_arguments("https://host.example/lab/keras-mrisr/")
    assert made["project_urls"]["Source"] == "https://host.example/lab/keras-mrisr"
    version = keras_mrisr.__version__
    links = re.findall(r"!?\[[^]]*\]\(([^)]*)\)", made["long_description"])
    assert links and all(link.startswith("https://") for link in links)
    image = "https://host.example/lab/keras-mrisr/raw/v{}/docs/images/shipped-model.png"
    assert image.format(version) in links
    for link in links:
        path = re.fullmatch(rf"https://host.example/lab/keras-mrisr/(?:raw|blob)/v{version}/(.+)", link)
        assert path is None or (ROOT / path[1].split("#")[0]).exists(), link


@pytest.mark.parametrize("name", keras_mrisr.__all__)
def test_public_names(name):
    assert getattr(keras_mrisr, name) is not None
    assert name in dir(keras_mrisr)


_FOLDERS = [path.parent for path in sorted((ROOT / "keras_mrisr").rglob("__init__.py"))]
_PACKAGES = [".".join(path.relative_to(ROOT).parts) for path in _FOLDERS]


@pytest.mark.parametrize("package", [*_PACKAGES, "keras_mrisr.export", "keras_mrisr.tuning"])
def test_no_module_hides_a_public_name(package):
    """Importing a module binds it to its name, over a function that is loaded when it is first used."""
    package = importlib.import_module(package)
    modules = {found.name for found in pkgutil.iter_modules(package.__path__[:1])}
    for name in modules.intersection(getattr(package, "__all__", ())):
        value = getattr(package, name)
        of_that = getattr(value, "__module__", None) == f"{package.__name__}.{name}"
        assert inspect.ismodule(value) or (of_that and not hasattr(package, "__getattr__")), name


def test_train_and_gan_optimizer_are_functions_after_their_modules():
    names = "SRGAN, gan_optimizer, train"
    program = f"import keras_mrisr.training.recipe; from keras_mrisr.training import {names}; print({names})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.count("<function ") == 2, done.stdout + done.stderr


def test_unknown_name():
    with pytest.raises(AttributeError, match="No keras_mrisr attribute srresnot"):
        keras_mrisr.srresnot  # noqa: B018


@pytest.mark.parametrize("namespace", ["layers", "degradations", "datasets", "training", "models", "losses"])
def test_namespaces(namespace):
    module = getattr(keras_mrisr, namespace)
    assert module is sys.modules[f"keras_mrisr.{namespace}"]
    assert all(getattr(module, name) is not None for name in module.__all__)


@pytest.mark.parametrize(("old", "new"), [("upscale_image", "interpolate"), ("InputError", "MrisrError")])
def test_old_names(old, new):
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        assert getattr(keras_mrisr, old) is getattr(keras_mrisr, new)


def test_a_checkout_that_is_not_installed_has_all_folders():
    code = "import keras_mrisr.export, keras_mrisr.tuning; print(keras_mrisr.tuning.Study.__module__)"
    places = (ROOT, *(pathlib.Path(one.__file__).parents[1] for one in (lazy_loader, yaml)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    command = [sys.executable, "-S", "-c", code]  # Without what an editable install puts on the path.
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT.parent)
    assert done.stdout.strip() == "keras_mrisr.tuning.study", done.stderr


def test_version(arguments):
    assert arguments["version"] == keras_mrisr.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", keras_mrisr.__version__)
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1)
    assert newest.strip("[]") in (keras_mrisr.__version__, "Unreleased")


OPTIONAL = (
    "demo", "dicom", "tuning", "export", "onnx", "openvino", "ncnn", "formats", "bids", "cluster",
    "pacs", "lgg", "lpips", "realism", "readers",
)  # fmt: skip


def test_extras(arguments):
    extras = arguments["extras_require"]
    assert set(extras) == {*OPTIONAL, "dev", "all"}
    optional = {requirement for name in OPTIONAL for requirement in extras[name]}
    assert set(extras["all"]) == optional
    assert set(extras["demo"]) <= set(extras["dev"])


def test_every_module_is_packaged(arguments):
    folders = {path.parent for path in (ROOT / "keras_mrisr").rglob("*.py")}
    expected = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(arguments["packages"]) == expected | {"keras_mrisr.tuning", "keras_mrisr.export"}
    for package, folder in arguments["package_dir"].items():
        assert package in arguments["packages"]
        assert (ROOT / folder / "__init__.py").is_file()


def test_console_command(arguments):
    [entry] = arguments["entry_points"]["console_scripts"]
    name, _, target = entry.partition("=")
    module, _, function = target.partition(":")
    assert name == "mrisr"
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_the_weights_have_terms_of_their_own(arguments):
    terms = arguments["license_expression"].split(" AND ")
    assert terms == ["Apache-2.0", "CC-BY-NC-SA-4.0", "BSD-2-Clause", "MIT", "ISC"]
    for name in arguments["license_files"]:
        assert (ROOT / name).is_file()
    assert "LICENSE" in arguments["package_data"]["keras_mrisr.pretrained"]
    assert "CC BY-NC-SA 4.0" in (ROOT / "keras_mrisr/pretrained/LICENSE").read_text()


def test_the_extras_named_in_hints_exist(arguments):
    files = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    for folder in ("keras_mrisr", "tuning", "export"):
        files += (ROOT / folder).rglob("*.py")
    named = {name for path in files for name in re.findall(r"(?:keras-mrisr|'\.)\[(\w+)\]", path.read_text())}
    assert named
    assert named <= set(arguments["extras_require"])


def test_the_citation_names_this_version_and_licence(arguments):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == arguments["version"]
    assert " AND ".join(citation["license"]) == arguments["license_expression"]
    assert citation["title"] == arguments["name"]


def test_the_machine_that_only_runs_onnx_has_all_it_needs(arguments):
    guide = (ROOT / "docs/guides/deployment.md").read_text()
    listed = set(re.search(r"^`pip install (onnxruntime .*)`", guide, re.MULTILINE).group(1).split())
    names = [*arguments["install_requires"], *arguments["extras_require"]["onnx"]]
    training_only = {"tensorflow", "tensorboard", "keras", "matplotlib", "jinja2"}
    assert listed == {re.split("[><=]", name)[0] for name in names} - training_only
