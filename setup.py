"""Packaging of keras-mrisr: metadata, packages and extras."""

import os
import pathlib
import re
import runpy

from setuptools import find_packages, setup

here = pathlib.Path(__file__).parent
version = runpy.run_path(str(here / "keras_mrisr" / "version.py"))["__version__"]

demo = ["nilearn>=0.11"]
dicom = ["pydicom>=3", "pylibjpeg[all]>=2"]
tuning = ["keras-tuner>=1.4.8", "scikit-learn"]
export = ["onnx>=1.17", "tf2onnx>=1.17", "onnxruntime>=1.20", "tensorflow-serving-api>=2.18"]
# To run an exported network; docs/guides/deployment.md does so without TensorFlow.
onnx = ["onnxruntime>=1.20", "onnx>=1.17"]
openvino = ["openvino>=2024.6"]
ncnn = ["ncnn>=1.0.20250503"]
formats = ["SimpleITK>=2.3"]
bids = ["ancpbids>=0.4"]
cluster = ["distributed>=2025.1"]
pacs = ["pynetdicom>=2.1", "dicomweb-client>=0.59"]
lgg = ["kagglehub>=0.3"]
tests = [
    "pytest>=8",
    "pytest-xdist>=3.6",
    "scikit-image>=0.24",
    "selenium>=4.20",
    "trustme>=1.2",
    "sybil>=9",
    "dcm2niix>=1.0.20250505",
    "bids-validator-deno>=2.0",
]
checks = ["ruff>=0.6", "mypy>=1.15", "types-PyYAML", "import-linter>=2.1"]
docs = ["mkdocs-material>=9.6", "mkdocstrings-python>=1.16", "mkdocs-jupyter>=0.25"]
lpips = ["lpips>=0.1.4"]  # Brings PyTorch.
# piq computes LPIPS and DISTS; the other two carry what they learnt on top of VGG16.
realism = ["piq>=0.8", "lpips>=0.1.4", "DISTS-pytorch>=0.1"]
readers = ["krippendorff>=0.8"]

# The address of the repository is not written down here: who builds a release gives it. A package index
# then shows the links to it, and the README's picture, which relative links do not reach there.
url = os.environ.get("MRISR_PROJECT_URL", "").rstrip("/")
readme = (here / "README.md").read_text(encoding="utf-8")
if url:
    readme = re.sub(r"(!\[[^]]*\]\()(?!\w+:|#)", rf"\g<1>{url}/raw/v{version}/", readme)
    readme = re.sub(r"((?<!!)\[[^]]*\]\()(?!\w+:|#)", rf"\g<1>{url}/blob/v{version}/", readme)
pages = {"Documentation": "tree/main/docs", "Changelog": "blob/main/CHANGELOG.md", "Issues": "issues"}

setup(
    name="keras-mrisr",
    version=version,
    description="Super-resolution of MRI with Keras 3: SRResNet and GANs from training to deployment",
    long_description=readme,
    long_description_content_type="text/markdown",
    author="The keras-mrisr authors",
    project_urls={"Source": url, **{name: f"{url}/{page}" for name, page in pages.items()}} if url else {},
    # The code, the weights in pretrained, and NiiVue with its libraries in the page of `upscale --report`.
    license_expression="Apache-2.0 AND CC-BY-NC-SA-4.0 AND BSD-2-Clause AND MIT AND ISC",
    license_files=[
        "LICENSE",
        "keras_mrisr/pretrained/LICENSE",
        "keras_mrisr/inference/templates/niivue/LICENSE",
    ],
    python_requires=">=3.11",
    # `tuning` and `export` stand at the top of the tree, but are installed inside the package, so
    # that no generic top-level name lands in anyone's environment.
    packages=[
        *find_packages(include=["keras_mrisr", "keras_mrisr.*"]),
        "keras_mrisr.tuning",
        "keras_mrisr.export",
    ],
    package_data={
        "": ["*.pyi", "py.typed"],
        "keras_mrisr.evaluation": ["templates/*"],
        "keras_mrisr.evaluation.readers": ["templates/*"],
        "keras_mrisr.inference": ["templates/*", "templates/niivue/*"],
        "keras_mrisr.bids": ["templates/*"],
        "keras_mrisr.pretrained": ["LICENSE", "*/*"],
        "keras_mrisr.tuning": ["studies/*", "slurm.sh", "compose.yaml"],
    },
    package_dir={"keras_mrisr.tuning": "tuning", "keras_mrisr.export": "export"},
    install_requires=[
        "tensorflow>=2.21",
        "tensorboard>=2.20",  # TensorFlow writes its summaries through it, but does not bring it.
        "keras>=3.15",
        "numpy>=1.26",
        "pillow>=10.3",
        "pydantic>=2.9",
        "pyyaml>=6",
        "rich>=13",
        "scipy>=1.11",
        "matplotlib>=3.8",
        "tifffile>=2024.1",
        "nibabel>=5.2",
        "jinja2>=3.1",
        "lazy-loader>=0.6",
        *onnx,
    ],
    extras_require={
        "demo": demo,
        "dicom": dicom,
        "tuning": tuning,
        "export": export,
        "onnx": onnx,
        "openvino": [*onnx, *openvino],
        "ncnn": [*onnx, *ncnn],
        "formats": formats,
        "bids": bids,
        "cluster": cluster,
        "pacs": [*dicom, *pacs],
        "lgg": lgg,
        "lpips": lpips,
        "realism": realism,
        "readers": readers,
        "dev": [
            *demo,
            *dicom,
            *formats,
            *bids,
            *cluster,
            *pacs,
            *tuning,
            *export,
            *openvino,
            *ncnn,
            *readers,
            *tests,
            *checks,
            *docs,
        ],
        "all": [
            *realism,
            *readers,
            *demo,
            *dicom,
            *tuning,
            *export,
            *openvino,
            *ncnn,
            *formats,
            *lgg,
            *lpips,
            *bids,
            *cluster,
            *pacs,
        ],
    },
    entry_points={"console_scripts": ["mrisr=keras_mrisr.cli:main"]},
    keywords=["MRI", "super-resolution", "Keras", "NIfTI", "DICOM", "SRResNet", "SRGAN"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
