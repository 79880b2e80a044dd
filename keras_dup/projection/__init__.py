"""Label maps -> windows -> W: the data-dependent part of DUpsampling (Tian et al. 2019, Sec. 3.1).

In the order of the flow: `windows` cuts label maps, `counting` and `window_counts` count distinct
windows (`beam` on many machines), `pca` finds their directions, `fitting` puts this together,
`label_projection` holds the result, `compression` applies it in tf.data. `autoencoder` has the
paper's other ways. `reconstruction`, `resampling`, `report` and `figures` show how much of the
labels is left. No TensorFlow; Keras in `autoencoder` and `compression` alone.
"""

from keras_dup.projection._fitting import count_windows, fit, fit_counts
from keras_dup.projection._label_projection import (
    LabelAutoencoder,
    LabelProjection,
)
from keras_dup.projection._loading import load
from keras_dup.projection._recoding import recode
from keras_dup.projection._reconstruction import reconstruction_miou

__all__ = [
    "LabelAutoencoder",
    "LabelProjection",
    "count_windows",
    "fit",
    "fit_counts",
    "load",
    "recode",
    "reconstruction_miou",
]
