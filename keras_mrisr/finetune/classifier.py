"""VGG with one linear head a label."""

import dataclasses
import functools
from collections.abc import Collection
from typing import Any

import keras
import numpy as np
from keras import layers
from scipy.optimize import minimize
from scipy.special import logsumexp

from keras_mrisr.models.blocks import LAST
from keras_mrisr.models.vgg import vgg
from keras_mrisr.types import Model, Progress

# On standardised features. With less, heads overfit (seen on the LGG validation patients): patients are few.
HEAD_PENALTY = 3.0
_LOSSES = {
    "tumour": functools.partial(keras.losses.BinaryCrossentropy, from_logits=True),
    "sequence": functools.partial(keras.losses.SparseCategoricalCrossentropy, from_logits=True),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A network and its parts, which share their layers.

    Attributes:
        whole: From images, as `features.network_input` makes them, to a dictionary of logits: "tumour"
            (N, 1), "sequence" (N, number of channels).
        pooled: From the same images to the mean over places of the deepest convolution's ReLU (N, F),
            which is what the default perceptual loss looks at.
        heads: From there to the logits.
    """

    whole: keras.Model
    pooled: keras.Model
    heads: keras.Model


def build_classifier(
    network: str,
    weights: Any,
    outputs: dict[str, int],
    trainable: Collection[str],
    precision: str = "float32",
) -> Classifier:
    """Builds VGG with a head for each label.

    Args:
        network: "vgg19" or "vgg16".
        weights: See `vgg.read_weights`.
        outputs: Dictionary from label to the number of its logits.
        trainable: Names of the blocks that are trained, such as "block5".
        precision: Keras dtype policy of the convolutions; variables and heads are float32.

    Returns:
        A `Classifier`, not compiled, whose heads answer 0 to everything.

    Raises:
        DataError: The weights are not there or not this network's.
    """
    trunk = vgg(network, weights=weights, dtype=precision)
    for layer in trunk.layers:
        layer.trainable = layer.name.split("_")[0] in trainable
    pooled = layers.GlobalAveragePooling2D(name="pooled", dtype="float32", **LAST)(trunk.output)
    # Never updated by training: `fit_heads` sets the statistics.
    standard = layers.BatchNormalization(
        center=False, scale=False, name="standardised", dtype="float32", trainable=False
    )(pooled)
    logits = {
        label: layers.Dense(
            count,
            kernel_initializer="zeros",
            name=label,
            dtype="float32",
        )(standard)
        for label, count in outputs.items()
    }
    return Classifier(
        keras.Model(trunk.input, logits, name=f"{network}_classifier"),
        keras.Model(trunk.input, pooled, name="pooled_features"),
        keras.Model(pooled, logits, name="heads"),
    )


def compile_classifier(model: Model, learning_rate: Any) -> None:
    """Compiles a model that gives logits, for labels and weights as `LabelledBatches` yields them."""
    model.compile(
        keras.optimizers.Adam(learning_rate), loss={label: _LOSSES[label]() for label in model.output}
    )


def fit_heads(classifier: Classifier, batches: Any, progress: Progress | None = None) -> None:
    """Fits the heads to the features as they are: logistic regressions with a penalty on the weights.

    Trained on from random heads, a network first loses part of what it knows (Kumar et al. 2022,
    "Fine-Tuning can Distort Pretrained Features"); and how well these do is what fine-tuning has to beat.

    Args:
        classifier: A `Classifier`.
        batches: `LabelledBatches`, gone through once.
        progress: Called with the number of batches done and the number in all.
    """
    parts, known = [], []
    for number in range(len(batches)):
        images, *labels_and_weights = batches[number]
        parts.append(np.asarray(classifier.pooled.predict_on_batch(images)))
        known.append(labels_and_weights)
        if progress is not None:
            progress(number + 1, len(batches))
    pooled = np.concatenate(parts)
    standard = classifier.heads.get_layer("standardised")
    standard.set_weights([pooled.mean(axis=0), pooled.var(axis=0)])
    pooled = keras.ops.convert_to_numpy(standard(pooled))
    for label in classifier.heads.output:
        head = classifier.heads.get_layer(label)
        labels, weights = (np.concatenate([batch[part][label] for batch in known]) for part in (0, 1))
        head.set_weights(_logistic_regression(pooled, labels, weights, head.units))


def _logistic_regression(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray, units: int
) -> list[np.ndarray]:
    """Kernel and bias that minimise the weighted mean of the cross-entropy plus the penalty on the kernel.

    Args:
        features: (N, F).
        labels: N integers in an array of any shape.
        weights: (N,).
        units: 1 for two classes, otherwise one for each class.
    """
    truth = np.eye(max(units, 2))[labels.ravel().astype(int)]
    features, weights = features.astype("float64"), weights[:, np.newaxis]

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = values[:-units].reshape(-1, units), values[-units:]
        logits = features @ kernel + bias
        if units == 1:  # Against a class whose logit is 0.
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        shares = logits - logsumexp(logits, axis=1, keepdims=True)
        loss = -np.sum(weights * truth * shares) / len(truth) + HEAD_PENALTY * np.sum(kernel**2)
        slope = (weights * (np.exp(shares) - truth) / len(truth))[:, -units:]
        return loss, np.append(features.T @ slope + 2 * HEAD_PENALTY * kernel, slope.sum(axis=0))

    start = np.zeros((features.shape[1] + 1) * units)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-10})
    return [found.x[:-units].reshape(-1, units), found.x[-units:]]
