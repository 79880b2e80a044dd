"""Trains the networks of a table of experiments, one after the other.

    python -m research.experiments                        # lists the tables and their rows
    python -m research.experiments camvid_stride          # all rows, seed 0
    python -m research.experiments camvid_stride stride32 bilinear32 --seeds 0 1 2

Every finished run becomes research/results/TABLE/ROW_SEED.json: recipe, commit, versions, machine,
log and validation. Rows that have their file are skipped; a run that was interrupted goes on.
`python -m research.results` then writes research/RESULTS.md.
"""

import argparse
import shlex

from research.experiments import runs, tables


def main(arguments=None):
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("table", nargs="?", choices=tables.TABLES)
    parser.add_argument("rows", nargs="*", help="of the table; all by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args(arguments)
    if arguments.table is None:
        for name, table in tables.TABLES.items():
            print(f"{name}: {table.title}\n    {' '.join(table.rows)}")
        return
    known = tables.TABLES[arguments.table].rows
    unknown = [row for row in arguments.rows if row not in known]
    if unknown:
        parser.error(f"{arguments.table} has no row {', '.join(unknown)}; {', '.join(known)}")
    for seed in arguments.seeds:
        for row in arguments.rows or known:
            print(f"\n{shlex.join(runs.command(arguments.table, row, seed))}", flush=True)
            path = runs.train(arguments.table, row, seed)
            if path is None:
                return  # interrupted


if __name__ == "__main__":
    main()
