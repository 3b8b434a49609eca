"""VGG with one linear head a label."""

import dataclasses
import functools

import keras
import numpy as np
from keras import layers

from keras_mrisr.models.vgg import vgg

# On standardised features. With less, heads overfit (seen on the LGG validation patients): patients are few.
HEAD_PENALTY = 3.0
_LOSSES = {
    "tumour": functools.partial(keras.losses.BinaryCrossentropy, from_logits=True),
    "sequence": functools.partial(keras.losses.SparseCategoricalCrossentropy, from_logits=True),
}
_HEAD_STEPS = 300
_HEAD_RATE = 0.01


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


def build_classifier(network, weights, outputs, trainable, precision="float32"):
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
        InputError: The weights are not there or not this network's.
    """
    trunk = vgg(network, weights=weights, dtype=precision)
    for layer in trunk.layers:
        layer.trainable = layer.name.split("_")[0] in trainable
    pooled = layers.GlobalAveragePooling2D(name="pooled", dtype="float32")(trunk.output)
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


def compile_classifier(model, learning_rate):
    """Compiles a model that gives logits, for labels and weights as `LabelledBatches` yields them."""
    model.compile(
        keras.optimizers.Adam(learning_rate), loss={label: _LOSSES[label]() for label in model.output}
    )


def fit_heads(classifier, batches, progress=None):
    """Fits the heads to the features as they are: logistic regressions with a penalty on the weights.

    Trained on from random heads, a network first loses part of what it knows (Kumar et al. 2022,
    "Fine-Tuning can Distort Pretrained Features"); and how well these do is what fine-tuning has to beat.

    Args:
        classifier: A `Classifier`.
        batches: `LabelledBatches`, gone through once.
        progress: Called with the number of batches done and the number in all.
    """
    pooled, known = [], []
    for number in range(len(batches)):
        images, *labels_and_weights = batches[number]
        pooled.append(np.asarray(classifier.pooled.predict_on_batch(images)))
        known.append(labels_and_weights)
        if progress is not None:
            progress(number + 1, len(batches))
    pooled = np.concatenate(pooled)
    standard = classifier.heads.get_layer("standardised")
    standard.set_weights([pooled.mean(axis=0), pooled.var(axis=0)])
    pooled = keras.ops.convert_to_numpy(standard(pooled))
    for label in classifier.heads.output:
        head = classifier.heads.get_layer(label)
        labels, weights = (np.concatenate([batch[part][label] for batch in known]) for part in (0, 1))
        head.set_weights(_logistic_regression(pooled, labels, weights, head.units))


def _logistic_regression(features, labels, weights, units):
    """Kernel and bias for features (N, F), labels and weights as `LabelledBatches` yields them."""
    regression = keras.Sequential(
        [
            keras.Input(features.shape[1:]),
            layers.Dense(
                units,
                kernel_initializer="zeros",
                kernel_regularizer=keras.regularizers.L2(HEAD_PENALTY),
                dtype="float32",
            ),
        ]
    )
    loss = "tumour" if units == 1 else "sequence"
    regression.compile(keras.optimizers.Adam(_HEAD_RATE), loss=_LOSSES[loss]())
    # All at once: without the noise of batches it ends at the one minimum.
    regression.fit(
        features, labels, sample_weight=weights, batch_size=len(features), epochs=_HEAD_STEPS, shuffle=False,
        verbose=0,
    )  # fmt: skip
    return regression.get_weights()
