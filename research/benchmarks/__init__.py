"""Speed and memory: `python -m research.benchmarks.NAME` from the repository's root.

What they printed is in RESULTS.md beside this file and in results/.

    speed             image to label map, beside keras-hub's, keras-cv's and zeromodels' networks
    operations        where the time of one of these networks goes
    decoder           the decoder alone, and the head alone
    pareto            mIoU against time of every decoder of the experiments
    folding           what `export.fold` saves
    memory            memory of 1000 predictions, and of one large image
    training_peers    a training step, beside the peers
    training_step     a training step with the packed loss and with the plain one
    projection_fit    from PNGs to W
    scale             the same at the size of well-known data sets
    input_pipeline    images per second into training, beside keras-cv's layers
    serving           images per second, latency and memory of a server under 32 callers
    gpu               networks, training steps and the head on a GPU, through JAX
    since             this commit beside another, in pairs: is anything slower?
    figure            draws the results
"""
