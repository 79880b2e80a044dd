"""Does a training step of a network reach its encoder?"""

import keras
import numpy as np

from keras_dup import losses


def moved_by_a_step(model, backbone, image):
    """The share of the backbone's trainable weights that one step of 3 random classes changes."""
    assert any(v is w for v in model.weights for w in backbone.weights)
    # not Keras's own cross-entropy, whose gradient fails on PyTorch; a graph costs more than a step
    model.compile("sgd", losses.PixelCrossentropy(), run_eagerly=True, jit_compile=False)
    before = [np.copy(keras.ops.convert_to_numpy(v)) for v in backbone.trainable_weights]
    label_map = np.random.default_rng(0).integers(0, 3, image.shape[:3])
    assert np.isfinite(model.train_on_batch(image, label_map))
    pairs = zip(before, backbone.trainable_weights, strict=True)
    return np.mean([np.any(a != keras.ops.convert_to_numpy(b)) for a, b in pairs])
