"""Hyperparameter search over the training recipe; installed as `keras_mrisr.tuning`."""
