"""What is measured on trained networks: `python -m research.probes.NAME TABLE ...`.

Each takes finished runs of `python -m research.experiments`, whose models lie in training/runs/,
and writes a JSON file into research/results/TABLE/, which `python -m research.results` shows.

    blocks            do the windows of the shipped model show?
    bootstrap         do two networks differ by more than the choice of the images?
    class_priors      what changes if class frequencies of train are divided out?
    compare_rows      draws the images where one network gains and loses most
    edges             pixel accuracy by the distance to an edge of the labels
    features          what the encoder's features still know of ImageNet
    heads             what each kind of upsampling reaches on features that stay as they are
    learning_curve    what W adds there, by the number of images that it is learned from
    one_class         where one class is found: by how much of a window it fills
"""
