"""Models and decoders of others, to compare with.

animals     the model of the package beside a trained DeepLabv3
decoders    keras-hub's and keras-cv's DeepLabV3+ on the encoders of this package
"""
