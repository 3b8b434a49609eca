#!/usr/bin/env bash
# Muon of Keras with weight_decay=0, on the kernel of a convolution.
#
# Keras 3.15.1 on JAX 0.10.2.
# From memory: Muon's weight_decay holds for all that it optimises.
# Seen: only matrices go through Muon; a convolution's kernel (4-D) goes through its AdamW part, whose decay is another argument,
# adam_weight_decay (0.004 unless given). With weight_decay=0 alone, convolutions still shrink under zero gradients.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > expected <<'SEEN'
after 100 steps of zero gradients at a rate of 0.01, from 1:
nothing given: convolution 0.9960, matrix 0.9960
weight_decay=0: convolution 0.9960, matrix 1.0000
weight_decay=0, adam_weight_decay=0: convolution 1.0000, matrix 1.0000
SEEN
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.3.5 keras==3.15.1 jax==0.10.2
KERAS_BACKEND=jax venv/bin/python - > seen 2> errors <<'PYTHON' || { cat errors; exit 1; }
import keras
import numpy as np

cases = {
    "nothing given": {},
    "weight_decay=0": {"weight_decay": 0.0},
    "weight_decay=0, adam_weight_decay=0": {"weight_decay": 0.0, "adam_weight_decay": 0.0},
}
print("after 100 steps of zero gradients at a rate of 0.01, from 1:")
for name, arguments in cases.items():
    weights = [keras.Variable(np.ones(shape, "float32")) for shape in ((3, 3, 4, 4), (4, 4))]
    optimizer = keras.optimizers.Muon(1e-2, **arguments)
    optimizer.build(weights)
    for _ in range(100):
        optimizer.apply([np.zeros(weight.shape, "float32") for weight in weights], weights)
    convolution, matrix = (float(np.mean(weight.numpy())) for weight in weights)
    print(f"{name}: convolution {convolution:.4f}, matrix {matrix:.4f}")
PYTHON
cat seen
diff expected seen && echo "As described."
