"""The sections of RESULTS.md, which `python -m research.results` puts together."""
