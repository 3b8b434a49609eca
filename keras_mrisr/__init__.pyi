# What `keras_mrisr` loads when it is first used, and what editors and type checkers know of it.
from . import (  # type: ignore[attr-defined,unused-ignore]  # Two stand beside this folder.
    config as config,
    data as data,
    datasets as datasets,
    degradations as degradations,
    evaluation as evaluation,
    export as export,
    finetune as finetune,
    inference as inference,
    layers as layers,
    losses as losses,
    metrics as metrics,
    models as models,
    pretrained as pretrained,
    segmentation as segmentation,
    training as training,
    tuning as tuning,
    volumes as volumes,
)
from .config import RunConfig as RunConfig, read_config as read_config
from .data import (
    read_dataset as read_dataset,
    read_image as read_image,
    split_patients as split_patients,
    write_image as write_image,
)
from .data.pipeline import PatchDataset as PatchDataset, load_pairs as load_pairs
from .data.volume_pairs import VolumePatches as VolumePatches, load_volume_pairs as load_volume_pairs
from .degrade import KSpaceCrop as KSpaceCrop, get_degradation as get_degradation, interpolate as interpolate
from .errors import (
    ConfigError as ConfigError,
    DataError as DataError,
    MissingDependencyError as MissingDependencyError,
    ModelError as ModelError,
    MrisrError as MrisrError,
    TrainingDivergedError as TrainingDivergedError,
)
from .evaluation import (
    compare_image as compare_image,
    evaluate_model as evaluate_model,
    evaluate_models as evaluate_models,
)
from .export import (
    OnnxSuperResolver as OnnxSuperResolver,
    ServingClient as ServingClient,
    ServingSuperResolver as ServingSuperResolver,
    export_model as export_model,
)
from .finetune import FinetuneConfig as FinetuneConfig, finetune_features as finetune_features
from .inference import (
    SuperResolver as SuperResolver,
    ThroughPlaneResolver as ThroughPlaneResolver,
    upscale_path as upscale_path,
    upscale_through_plane as upscale_through_plane,
    upscale_volume as upscale_volume,
)
from .losses import PerceptualLoss as PerceptualLoss
from .metrics import PSNR as PSNR, SSIM as SSIM
from .models import (
    build_generator as build_generator,
    edsr as edsr,
    srresnet as srresnet,
    srresnet3d as srresnet3d,
    through_plane as through_plane,
)
from .models.storage import load_trained as load_trained
from .presets import preset_config as preset_config
from .training import train as train
from .training.srgan import SRGAN as SRGAN, gan_optimizer as gan_optimizer
from .version import __version__ as __version__
from .volumes import Volume as Volume, read_volume as read_volume, write_volume as write_volume
