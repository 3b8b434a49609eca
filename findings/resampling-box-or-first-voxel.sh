#!/usr/bin/env bash
# Halving the voxels of a NIfTI: which tools keep the box in space, and which the centre of the first voxel?
#
# torchio 1.2.1, SimpleITK 2.5.7, ANTsPy 0.6.3, nibabel 5.4.2, nilearn 0.14.1, MONAI 1.6.1, SciPy 1.15.3.
# From memory: all keep the box, so that results of several tools lie on each other.
# Seen: only torchio's Resample and SimpleITK's Expand do. nibabel, nilearn and MONAI keep the first centre and lose the last
# half voxel. ANTsPy keeps the first centre and the count, so its box is shifted by a quarter of an old voxel; given a size,
# it spreads the first and the last centre apart, at a spacing of 18/19 mm. nibabel's conform keeps neither. scipy.ndimage.zoom
# joins the outer centres unless grid_mode=True.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
source: 10 voxels of 2 mm, first centre 0.00, box -1.00 to 19.00
torchio Resample: 20 voxels of 1 mm, first centre -0.50, box -1.00 to 19.00
SimpleITK Expand: 20 voxels of 1 mm, first centre -0.50, box -1.00 to 19.00
ANTsPy resample_image, spacing: 20 voxels of 1 mm, first centre 0.00, box -0.50 to 19.50
ANTsPy resample_image, size: 20 voxels of 0.9474 mm, first centre 0.00, box -0.47 to 18.47
nibabel resample_to_output: 19 voxels of 1 mm, first centre 0.00, box -0.50 to 18.50
nibabel conform: 20 voxels of 1 mm, first centre -1.00, box -1.50 to 18.50
nilearn resample_img: 19 voxels of 1 mm, first centre 0.00, box -0.50 to 18.50
MONAI Spacing: 19 voxels of 1 mm, first centre 0.00, box -0.50 to 18.50
SciPy zoom: samples at 0.00, 0.47, 0.95 ... 9.00 of 0 to 9
SciPy zoom, grid_mode: samples at 0.25, 0.75 inside
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 scipy==1.15.3 nibabel==5.4.2 nilearn==0.14.1 SimpleITK==2.5.7 antspyx==0.6.3 torch==2.14.1 torchio==1.2.1 monai==1.6.1
venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import warnings

warnings.filterwarnings("ignore")
import ants
import monai.data
import monai.transforms
import nibabel
import nibabel.processing
import nilearn.image
import numpy as np
import scipy.ndimage
import SimpleITK
import torch
import torchio


def report(name, size, spacing, first):
    low = first - spacing / 2
    high = low + size * spacing
    print(f"{name}: {size} voxels of {spacing:.4g} mm, first centre {first:.2f}, box {low:.2f} to {high:.2f}")


def of_affine(name, shape, affine):
    report(name, int(shape[0]), float(affine[0, 0]), float(affine[0, 3]))


# The last axis is z, whose sign NIfTI and ITK share; the cube is alike along all three, so report that one for ITK.
data = np.random.default_rng(0).random((10, 10, 10)).astype("float32")
image = nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1]))
nibabel.save(image, "in.nii.gz")
of_affine("source", image.shape, image.affine)
result = torchio.Resample(1)(torchio.ScalarImage("in.nii.gz"))
of_affine("torchio Resample", result.spatial_shape, result.affine)
result = SimpleITK.Expand(SimpleITK.ReadImage("in.nii.gz"), [2, 2, 2])
report("SimpleITK Expand", result.GetSize()[2], result.GetSpacing()[2], result.GetOrigin()[2])
source = ants.image_read("in.nii.gz")
result = ants.resample_image(source, (1, 1, 1), False, 0)
report("ANTsPy resample_image, spacing", result.shape[2], result.spacing[2], result.origin[2])
result = ants.resample_image(source, (20, 20, 20), True, 0)
report("ANTsPy resample_image, size", result.shape[2], result.spacing[2], result.origin[2])
result = nibabel.processing.resample_to_output(image, (1, 1, 1))
of_affine("nibabel resample_to_output", result.shape, result.affine)
result = nibabel.processing.conform(image, out_shape=(20, 20, 20), voxel_size=(1, 1, 1))
of_affine("nibabel conform", result.shape, result.affine)
result = nilearn.image.resample_img(image, np.diag([1.0, 1, 1]), force_resample=True, copy_header=True)
of_affine("nilearn resample_img", result.shape, result.affine)
tensor = monai.data.MetaTensor(torch.as_tensor(data)[None], affine=torch.as_tensor(image.affine))
result = monai.transforms.Spacing((1, 1, 1))(tensor)
of_affine("MONAI Spacing", result.shape[1:], result.affine)
line = np.arange(10.0)
at = scipy.ndimage.zoom(line, 2, order=1)
print(f"SciPy zoom: samples at {at[0]:.2f}, {at[1]:.2f}, {at[2]:.2f} ... {at[-1]:.2f} of 0 to 9")
at = scipy.ndimage.zoom(line, 2, order=1, grid_mode=True, mode="nearest")
print(f"SciPy zoom, grid_mode: samples at {at[1]:.2f}, {at[2]:.2f} inside")
PYTHON
cat seen
diff expected seen && echo "As described."
