"""A U-Net for lesions: trained on masks, applied, and asked whether super-resolution helps it."""

from keras_mrisr.segmentation.config import SEGMENTATION_PRESETS, SegmentationConfig, segmentation_preset
from keras_mrisr.segmentation.evaluate import SegmentationEvaluation, evaluate_segmentation
from keras_mrisr.segmentation.predict import segment_path
from keras_mrisr.segmentation.segmenter import Segmenter
from keras_mrisr.segmentation.train import train_segmenter

__all__ = [
    "SEGMENTATION_PRESETS",
    "SegmentationConfig",
    "SegmentationEvaluation",
    "Segmenter",
    "evaluate_segmentation",
    "segment_path",
    "segmentation_preset",
    "train_segmenter",
]
