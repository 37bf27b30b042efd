"""Races numpy and pandas at historical value at risk over 10,000 scenarios of 1,000 positions, one thread.

Run by `cargo bench -p nautilus-benches --bench risk_measures`, which names a file as the only argument. The scenarios
and positions are drawn (seed 7), written there as f64, little-endian, row by row, positions last, and "ready" is printed.
Then each line on standard input is a round: every form runs once, and a line of JSON gives each one's seconds of
processor time. At the end of input a line gives the values of each form.

  numpy                a product of matrix and vector, then partition: VaR and ES
  numpy_matrix         the matrix of all P&L, its sums, quantile: VaR
  pandas               the same of frames: mul, sum, quantile
  numpy_components     the product, argpartition, the mean of the worst rows: the component ES of every position
  numpy_without_each   P&L less each position's, partition: VaR without each
  numpy_transposed     the same on a transposed matrix, in which columns are contiguous. It is made before the clock starts,
                       which favours it.
The quantile is the 100th of the 10,000 in all of them. The garbage collector is off.
"""

import gc
import json
import os
import sys
import time

# One thread, set before the libraries read it.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pandas as pd

SCENARIOS, ASSETS, RANK = 10_000, 1_000, 100
generator = np.random.default_rng(7)
returns = generator.standard_t(5, (SCENARIOS, ASSETS)) * 0.012
positions = generator.normal(0, 1e6, ASSETS)
transposed = np.ascontiguousarray(returns.T)
frame, series = pd.DataFrame(returns), pd.Series(positions)


def numpy():
    pnl = np.partition(returns @ positions, RANK - 1)
    return [-pnl[RANK - 1], -pnl[:RANK].mean()]


def numpy_matrix():
    return [-np.quantile((returns * positions).sum(axis=1), RANK / SCENARIOS, method="inverted_cdf")]


def pandas():
    return [-frame.mul(series).sum(axis=1).quantile(RANK / SCENARIOS, interpolation="lower")]


def numpy_components():
    worst = np.argpartition(returns @ positions, RANK - 1)[:RANK]
    return -(returns[worst].mean(axis=0) * positions)


def without_each(columns):
    pnl = returns @ positions
    kth = lambda i: -np.partition(pnl - columns[i] * positions[i], RANK - 1)[RANK - 1]
    return [kth(i) for i in range(ASSETS)]


def numpy_without_each():
    return without_each(returns.T)


def numpy_transposed():
    return without_each(transposed)


FORMS = [numpy, numpy_matrix, pandas, numpy_components, numpy_without_each, numpy_transposed]


def main():
    with open(sys.argv[1], "wb") as file:
        returns.astype("<f8").tofile(file)
        positions.astype("<f8").tofile(file)
    print("ready", flush=True)
    gc.disable()
    values = {}
    for turn, _ in enumerate(sys.stdin):
        seconds = {}
        for place in range(len(FORMS)):
            form = FORMS[(place + turn) % len(FORMS)]
            gc.collect()
            begin = time.process_time_ns()
            out = form()
            seconds[form.__name__] = (time.process_time_ns() - begin) / 1e9
            values[form.__name__] = [float(x) for x in out]
        print(json.dumps(seconds), flush=True)
    versions = f"numpy {np.__version__}, pandas {pd.__version__}"
    print(json.dumps({"values": values, "versions": versions}), flush=True)


if __name__ == "__main__":
    main()
