"""The smallest segmentation network whose right answer is known."""

import keras
import numpy as np


def thresholding(middle=127.5, sharpness=1.0):
    """A network of two classes: 1 where red is above `middle`."""
    image = keras.Input((None, None, 3), name="image")
    convolution = keras.layers.Conv2D(2, 1)
    model = keras.Model(image, keras.layers.Softmax()(convolution(image)))
    kernel = np.zeros((1, 1, 3, 2))
    kernel[..., 0, 1] = sharpness
    convolution.set_weights([kernel, np.array([0, -middle * sharpness])])
    return model
