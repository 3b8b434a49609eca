"""A U-Net for lesions: trained on masks, applied, and asked whether super-resolution helps it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["SEGMENTATION_PRESETS", "SegmentationConfig", "segmentation_preset"],
        "evaluate": ["SegmentationEvaluation", "evaluate_segmentation"],
        "predict": ["segment_path"],
        "segmenter": ["Segmenter"],
        "train": ["train_segmenter"],
    },
)
