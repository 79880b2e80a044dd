"""From a trained model to files for servers and phones, each checked against the model first."""

from keras_dup.export._exchange import onnx
from keras_dup.export._folding import fold
from keras_dup.export._mobile import litert
from keras_dup.export._serving import saved_model

__all__ = ["fold", "litert", "onnx", "saved_model"]
