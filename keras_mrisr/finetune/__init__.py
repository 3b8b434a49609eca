"""Feature networks that go on training on MRI, for the perceptual loss."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"config": ["FinetuneConfig"], "train": ["finetune_features"]}
)
