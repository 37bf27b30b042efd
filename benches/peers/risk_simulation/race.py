"""Races numpy and scipy at Monte Carlo value at risk: 100,000 paths of 500 normal assets, one thread.

Run by `cargo bench -p nautilus-benches --bench risk_simulation`, which names a file as the only argument. Returns (seed 42)
and positions are drawn, written there as f64, little-endian, row by row, positions last, and "ready" is printed. Then each
line on standard input is a round: every form runs once, and a line of JSON gives each one's seconds of processor time and
[VaR, ES]. At the end of input a line gives the versions.

  numpy_full        standard_normal (100,000 x 500), the product with L' (every asset's return in every path), P&L, partition
  numpy_projected   standard_normal, the product with L'w, partition: P&L only
  scipy_sobol       qmc.Sobol scrambled (131,072 x 500), ndtri, the product with L'w, partition: P&L only
  numpy_parametric  w'(Sigma w), VaR and its components
Covariance and Cholesky factor are made before the clock starts, which favours all of them. The garbage collector is off.
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
import scipy
from scipy.special import ndtri
from scipy.stats import qmc

PATHS, SCENARIOS, ASSETS, FACTORS, TAIL = 100_000, 1_260, 500, 10, 0.01


def market(generator):
    loadings = 0.004 * generator.normal(size=(ASSETS, FACTORS))
    loadings[:, 0] = 0.010 * (0.8 + 0.4 * generator.uniform(size=ASSETS))
    unit = np.sqrt(3 / 5)
    factors = generator.standard_t(5, (SCENARIOS, FACTORS)) * unit
    own = generator.standard_t(5, (SCENARIOS, ASSETS)) * unit * (0.008 + 0.012 * generator.uniform(size=ASSETS))
    return 0.0003 + 0.0002 * generator.normal(size=ASSETS) + factors @ loadings.T + own


returns = market(np.random.default_rng(42))
positions = np.random.default_rng(7).normal(0, 1e6, ASSETS)
covariance = np.cov(returns.T)
factor = np.linalg.cholesky(covariance)
stream = np.random.default_rng(0)


def tail(pnl):
    rank = round(TAIL * len(pnl))
    lowest = np.partition(pnl, rank - 1)[:rank]
    return [-lowest.max(), -lowest.mean()]


def numpy_full():
    return tail((stream.standard_normal((PATHS, ASSETS)) @ factor.T) @ positions)


def numpy_projected():
    return tail(stream.standard_normal((PATHS, ASSETS)) @ (factor.T @ positions))


def scipy_sobol():
    return tail(ndtri(qmc.Sobol(ASSETS, seed=stream).random_base2(17)) @ (factor.T @ positions))


def numpy_parametric():
    with_all = covariance @ positions
    sigma = np.sqrt(positions @ with_all)
    components = -ndtri(TAIL) * positions * with_all / sigma
    return [components.sum(), np.exp(-0.5 * ndtri(TAIL) ** 2) / np.sqrt(2 * np.pi) / TAIL * sigma]


FORMS = [numpy_full, numpy_projected, scipy_sobol, numpy_parametric]


def main():
    with open(sys.argv[1], "wb") as file:
        returns.astype("<f8").tofile(file)
        positions.astype("<f8").tofile(file)
    print("ready", flush=True)
    gc.disable()
    for turn, _ in enumerate(sys.stdin):
        answer = {}
        for place in range(len(FORMS)):
            form = FORMS[(place + turn) % len(FORMS)]
            gc.collect()
            begin = time.process_time_ns()
            values = form()
            seconds = (time.process_time_ns() - begin) / 1e9
            answer[form.__name__] = {"seconds": seconds, "values": [float(x) for x in values]}
        print(json.dumps(answer), flush=True)
    print(json.dumps(f"numpy {np.__version__}, scipy {scipy.__version__}"), flush=True)


if __name__ == "__main__":
    main()
