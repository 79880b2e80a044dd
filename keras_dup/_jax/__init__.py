"""What the JAX backend computes in a form of its own, since XLA's is slow; imported there alone."""
