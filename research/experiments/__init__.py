"""Tables of networks to train; `python -m research.experiments` lists and trains them."""
