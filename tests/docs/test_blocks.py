"""The code of README, CONTRIBUTING and docs, run from top to bottom on small data with tiny networks.

A block behind `<!-- not run: WHY -->` is only read, and `pip install` is left out. All
commands, also those in blocks that are not run, must be understood by the parser.
"""

import contextlib
import io
import itertools
import pathlib
import re
import shlex
import shutil

import numpy as np
import pytest
from sybil import Document
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from keras_mrisr.cli import _build_parser

ROOT = pathlib.Path(__file__).parents[2]
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n\Z")
TINY = {
    "generator": {"name": "edsr", "blocks": 1, "filters": 8},
    "training": {
        "epochs": 1,
        "steps_per_epoch": 2,
        "patch_size": 16,
        "batch_size": 2,
        "validation_slices": 2,
        "optimizer": "adam",
    },
}


def commands(text):
    """The lines of a shell block, continued ones joined, as words; `mrisr` alone stands first."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] != "pip":
            yield words


def is_run(example):
    return not NOT_RUN.search(example.document.text[: example.region.start])


@pytest.fixture(scope="session")
def data(tmp_path_factory, image_root, lgg_root, models, smooth_image):
    """A folder with all that the documents call by name."""
    import pydicom.data

    import keras_mrisr

    root = tmp_path_factory.mktemp("documents")
    shutil.copytree(image_root, root / "slices")
    shutil.copytree(lgg_root, root / "kaggle_3m")
    shutil.copytree(image_root, root / "hr")
    for path in (root / "hr").rglob("*.png"):
        small = keras_mrisr.read_image(path)[::2, ::2]
        place = root / "lr" / path.relative_to(root / "hr")
        place.parent.mkdir(parents=True, exist_ok=True)
        keras_mrisr.write_image(place, small)
    shutil.copy(image_root / "patient0/0.png", root / "slice.png")
    (root / "study").mkdir()
    shutil.copy(pydicom.data.get_testdata_file("MR_small.dcm"), root / "study/1.dcm")
    affine = np.diag([1.5, 1.5, 5, 1])
    for number in range(8):
        stack = [smooth_image(32, 32, dtype="uint16", seed=8 * number + z)[..., 0] for z in range(8)]
        volume = keras_mrisr.Volume(np.stack(stack, -1), affine)
        path = root / f"volumes/patient{number}/t1.nii.gz"
        path.parent.mkdir(parents=True)
        keras_mrisr.write_volume(volume, path)
    for name in ("scan.nii.gz", "head.nii.gz", "scans/a.nii.gz"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / "volumes/patient0/t1.nii.gz", root / name)
    for name in ("sub-01/ses-pre/anat/sub-01_ses-pre_T1w", "sub-02/ses-pre/anat/sub-02_ses-pre_FLAIR"):
        (root / f"ds/{name}").parent.mkdir(parents=True)
        shutil.copy(root / "volumes/patient0/t1.nii.gz", root / f"ds/{name}.nii.gz")
    (root / "ds/dataset_description.json").write_text('{"Name": "ds", "BIDSVersion": "1.10.0"}')
    (root / "filter.json").write_text('{"t1w": {"suffix": "T1w"}}')
    return root


@pytest.fixture
def workspace(data, path, models, bundled, eager, without_pictures, tmp_path, monkeypatch):
    """A copy of the data as the current folder, tiny networks in presets and bundled models, two steps.

    With a model in runs/mine, unless the document trains it.
    """
    from keras_mrisr import presets, pretrained

    folder = tmp_path / "workspace"
    shutil.copytree(data, folder)
    if not re.search(r"--out runs/mine\b", path.read_text(encoding="utf-8")):
        shutil.copytree(models["grey"], folder / "runs/mine")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(pretrained, "FOLDER", bundled)
    monkeypatch.setattr(presets, "PRESETS", dict.fromkeys(presets.PRESETS, TINY))
    return folder


@pytest.mark.filterwarnings("ignore:(currentThread|getName)\\(\\) is deprecated:DeprecationWarning")
@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_blocks_run(path, workspace, mrisr):
    def run(example):
        if is_run(example):
            for words in commands(example.parsed):
                assert words[0] == "mrisr", f"{path}: what is this? {words}"
                code, _, err = mrisr(*words[1:])
                assert code == 0, f"{path}:{example.line}: {shlex.join(words)}\n{err}"

    python = PythonCodeBlockParser()
    document = Document.parse(str(path), CodeBlockParser("bash", run), python)
    for example in document.examples():
        if is_run(example):
            example.evaluate()


def blocks(text):
    """Fenced shell blocks, and blocks that are indented by four."""
    yield from re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE):
        yield re.sub("^    ", "", block, flags=re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_commands_are_understood(path):
    for block in blocks(path.read_text(encoding="utf-8")):
        for line in re.findall(r"^(?:.*&& )?(mrisr .*)", block.replace("\\\n", " "), re.MULTILINE):
            words = shlex.split(line, comments=True)[1:]
            try:
                options = _build_parser().parse_args(words)
            except SystemExit:
                pytest.fail(f"{path}: {line}")
            assert hasattr(options, "run"), line


def option_names(words):
    """The options of the longest command that the words begin with, as its help lists them."""
    for length in range(len(words), 0, -1):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
            _build_parser().parse_args([*words[:length], "--help"])
        if out.getvalue():
            return set(re.findall(r"--[a-z][a-z-]*", out.getvalue()))
    return set()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_options_in_sentences_exist(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`(mrisr [^`]*)`", text):
        words = code.split()[1:]
        command = list(itertools.takewhile(re.compile("[a-z][a-z-]*").fullmatch, words))
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if options:
            assert options - {"--help"} <= option_names(command), f"{path}: {code}"
