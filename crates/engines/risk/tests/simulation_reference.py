"""Writes simulation_reference.json, what simulation.rs holds closed forms against: numpy, and exact tails by scipy.

Run: pip install numpy scipy; python3 simulation_reference.py > simulation_reference.json
Exact tails of a quadratic form of normal returns: its distribution function by inversion of the characteristic function
(Imhof 1961; Gil-Pelaez 1951), VaR by root finding, ES as VaR + 1/q times the integral of the distribution function below.
"""
import json

import numpy as np
from scipy import integrate, optimize, stats

ASSETS, SCENARIOS = 4, 60


def exact(constant, a, l, tail):
    scale = np.sqrt(np.sum(a * a + 0.5 * l * l))
    mean = constant + 0.5 * l.sum()
    # The characteristic function where it is not negligible, at midpoints: the rule is exact to rounding for such functions.
    step = np.pi / 60
    u = (np.arange(60_000) + 0.5) * step / scale
    d = 1 + np.outer(u, l) ** 2
    size = np.exp(-0.5 * (u * u) * (a * a / d).sum(1) - 0.25 * np.log(d).sum(1)) / (np.arange(60_000) + 0.5)
    angle = 0.5 * (np.arctan(np.outer(u, l)) - a * a * l * np.power(u, 3)[:, None] / d).sum(1) + constant * u
    keep = size > 1e-17
    u, size, angle = u[keep], size[keep], angle[keep]

    def below(x):
        return 0.5 - (np.sin(angle - x * u) * size).sum() / np.pi

    quantile = optimize.brentq(lambda x: below(x) - tail, mean - 12 * scale, mean + 3 * scale, xtol=1e-9 * scale)
    grid = np.linspace(mean - 20 * scale, quantile, 2_001)
    under = integrate.simpson([below(x) for x in grid], x=grid)
    return -quantile, -quantile + under / tail


def cornish_fisher(mean, deviation, s, k, tail):
    z = stats.norm.ppf(tail)
    w = lambda x: x + (x * x - 1) * s / 6 + (x**3 - 3 * x) * k / 24 - (2 * x**3 - 5 * x) * s * s / 36
    # No quantile function where it falls.
    if np.diff(w(np.linspace(-400, z, 200_001))).min() <= 0:
        return None
    inside = integrate.quad(lambda x: w(x) * stats.norm.pdf(x), -np.inf, z, epsabs=1e-13)[0]
    return -mean - deviation * w(z), -mean - deviation * inside / tail


def main():
    rng = np.random.default_rng(25)
    loadings = rng.normal(0, 0.01, (ASSETS, 2))
    returns = rng.normal(0, 1, (SCENARIOS, 2)) @ loadings.T + rng.standard_t(3, (SCENARIOS, ASSETS)) * 0.006 + 0.0004
    exposures = np.array([-9e5, 3e5, 5e5, 2e5])
    covariance, average = np.cov(returns.T), returns.mean(axis=0)
    full = rng.normal(0, 1, (ASSETS, ASSETS)) * 1.5e7
    gammas = {
        "short": [(-2.5e7 * np.ones(ASSETS)).tolist()],
        "long": [(4e7 * np.ones(ASSETS)).tolist()],
        "mixed": (full + full.T).tolist(),
        "one": [[-6e7, 0.0, 0.0, 0.0]],
    }
    cases = []
    for name, gamma in gammas.items():
        for confidence, days, with_mean in ((0.99, 1.0, False), (0.95, 10.0, True), (0.999, 4.0, False)):
            square = np.array(gamma) if len(gamma) == ASSETS else np.diag(gamma[0])
            sigma, mean = covariance * days, average * days * with_mean
            root = np.linalg.cholesky(sigma)
            l, q = np.linalg.eigh(root.T @ square @ root)
            a = q.T @ root.T @ (exposures + square @ mean)
            constant = mean @ exposures + 0.5 * mean @ square @ mean
            tail = 1 - confidence
            var, es = exact(constant, a, l, tail)
            # Cumulants by traces rather than eigenvalues.
            m, d = square @ sigma, exposures + square @ mean
            k1 = constant + 0.5 * np.trace(m)
            k2 = 0.5 * np.trace(m @ m) + d @ sigma @ d
            k3 = np.trace(m @ m @ m) + 3 * d @ sigma @ m @ d
            k4 = 3 * np.trace(m @ m @ m @ m) + 12 * d @ sigma @ m @ m @ d
            s, k = k3 / k2**1.5, k4 / k2**2
            expansion = cornish_fisher(k1, np.sqrt(k2), s, k, tail)
            cases.append(dict(name=name, gamma=gamma, confidence=confidence, days=days, include_mean=with_mean, var=var, es=es, deviation=np.sqrt(k2),
                              skewness=s, excess_kurtosis=k, cornish_fisher=expansion))
    pnl = returns @ exposures
    past = []
    for confidence, days, with_mean in ((0.95, 1.0, False), (0.99, 10.0, True)):
        mean = pnl.mean() * days * with_mean
        deviation = pnl.std(ddof=1) * np.sqrt(days)
        s, k = stats.skew(pnl), stats.kurtosis(pnl)
        past.append(dict(confidence=confidence, days=days, include_mean=with_mean, skewness=s, excess_kurtosis=k,
                         cornish_fisher=cornish_fisher(mean, deviation, s, k, 1 - confidence)))
    print(json.dumps(dict(returns=returns.tolist(), positions=exposures.tolist(), cases=cases, past=past), indent=1))


main()
