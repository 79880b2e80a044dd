"""How we know what the package claims.

FINDINGS.md     what was found, on one page
RESULTS.md      every table and curve, written by `python -m research.results`
results/        what was measured, a JSON file per run or probe
experiments/    tables of networks to train: `python -m research.experiments`
probes/         what is measured on the trained networks
projections/    what is measured on label maps alone
peers/          models and decoders of others, to compare with
page/           the sections of RESULTS.md
benchmarks/     speed and memory, with a RESULTS.md of its own
"""
