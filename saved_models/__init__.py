"""What the project ships: weights and projections; installed as `keras_dup.saved_models`."""
