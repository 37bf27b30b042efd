"""Writes simulation_reference.json, what simulation.rs holds closed forms against: numpy, and exact tails by scipy.

Run: pip install numpy scipy mpmath; python3 simulation_reference.py > simulation_reference.json
Exact tails of a quadratic form of normal returns: its distribution function by inversion of the characteristic function
(Imhof 1961; Gil-Pelaez 1951), VaR by root finding, ES as VaR + 1/q times the integral of the distribution function below.
What positions add, under "positions": the formulas of Cornish and Fisher and of Lugannani and Rice as functions of position sizes, in 30
digits by mpmath, differentiated numerically (steps of 1e-9), and computed again without each position.
"""
import json

import mpmath as mp
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


def expansion(k1, deviation, s, k, tail):
    z = mp.sqrt(2) * mp.erfinv(2 * tail - 1)
    w = lambda x: x + (x * x - 1) * s / 6 + (x**3 - 3 * x) * k / 24 - (2 * x**3 - 5 * x) * s * s / 36
    inside = mp.quad(lambda x: w(x) * mp.npdf(x), [z - 30, z - 8, z - 2, z])
    return [-k1 - deviation * w(z), -k1 - deviation * inside / tail]


def lugannani_rice(functions, least, deviation, tail):
    """`functions` are K, K' and K'' at t; `least` is the lower end of their domain."""

    def below(t):
        k, k1, k2 = functions(t)
        if k2 < 1e-50 * deviation**2:
            return mp.mpf(0), k1, k2
        w, u = mp.sign(t) * mp.sqrt(2 * (t * k1 - k)), t * mp.sqrt(k2)
        return mp.ncdf(w) + mp.npdf(w) * (1 / w - 1 / u), k1, k2

    # Outwards from the mean: far out in the past's tail the formula rises again.
    high, low = -mp.mpf("1e-3") / deviation, -mp.mpf("0.1") / deviation
    while low <= least or below(low)[0] > tail:
        high, low = (high, (high + least) / 2) if low <= least else (low, 2 * low)
    for _ in range(110):
        middle = (low + high) / 2
        low, high = (low, middle) if below(middle)[0] > tail else (middle, high)
    t, k1 = low, below(low)[1]
    # On the scale on which it fades: y from 0 on, t = least + (t - least)·exp(-y), or t·exp(y) where there is no end.
    def faded(y):
        if mp.isfinite(least):
            distance = (t - least) * mp.exp(-y)
            at = least + distance
        else:
            distance = -t * mp.exp(y)
            at = -distance
        p, _, k2 = below(at)
        return distance * p * k2

    beyond, error = mp.quad(faded, [0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 10, 24], maxdegree=5, error=True)
    assert error < 1e-13 * abs(beyond), (error, beyond)
    return [-k1, -k1 + beyond / tail]


def of_form(exposures, gamma, sigma, mean, tail, by_expansion):
    """Both measures of e'r + r'Γr/2, by traces or by eigenvalues."""
    n = len(exposures)
    e, g, mu = mp.matrix(exposures), mp.matrix(gamma), mp.matrix(mean)
    root = mp.cholesky(mp.matrix(sigma)) if n else mp.matrix(0)
    d = e + g * mu
    constant = (mu.T * e)[0] + (mu.T * g * mu)[0] / 2
    if by_expansion:
        m = g * mp.matrix(sigma)
        trace = lambda x: sum(x[i, i] for i in range(n))
        form = lambda x: (d.T * mp.matrix(sigma) * x * d)[0]
        k1, k2 = constant + trace(m) / 2, trace(m * m) / 2 + form(mp.eye(n))
        k3, k4 = trace(m**3) + 3 * form(m), 3 * trace(m**4) + 12 * form(m * m)
        return expansion(k1, mp.sqrt(k2), k3 / k2**1.5, k4 / k2**2, tail)
    values, vectors = mp.eigsy(root.T * g * root)
    a = vectors.T * root.T * d
    terms = [(a[i], values[i]) for i in range(n)]

    def functions(t):
        k, k1, k2 = constant * t, constant, mp.mpf(0)
        for b, l in terms:
            left = 1 - l * t
            k += (b * b * t * t / left - mp.log(left)) / 2
            k1 += l / left / 2 + b * b * t * (1 - l * t / 2) / left**2
            k2 += l * l / left**2 / 2 + b * b / left**3
        return k, k1, k2

    least = min(l for _, l in terms)
    return lugannani_rice(functions, 1 / least if least < 0 else -mp.inf, mp.sqrt(functions(mp.mpf(0))[2]), tail)


def of_past(outcomes, mean, tail, by_expansion):
    """Both measures of equally likely deviations around a mean."""
    count = len(outcomes)
    moment = lambda k: sum(x**k for x in outcomes) / count
    if by_expansion:
        k2 = moment(2)
        return expansion(mean, mp.sqrt(k2 * count / (count - 1)), moment(3) / k2**1.5, moment(4) / k2**2 - 3, tail)

    def functions(t):
        weights = [mp.exp(t * x) for x in outcomes]
        total = mp.fsum(weights)
        k1 = mp.fdot(weights, outcomes) / total
        k2 = mp.fsum(w * (x - k1) ** 2 for w, x in zip(weights, outcomes)) / total
        return mp.log(total / count) + t * mean, k1 + mean, k2

    return lugannani_rice(functions, -mp.inf, mp.sqrt(moment(2)), tail)


def by_positions(of_sizes, expandable, reached=True):
    """`of_sizes` measures positions of the given sizes, 0 for one that is gone."""
    result = {}
    for name, by_expansion, possible in (("cornish_fisher", True, expandable), ("saddlepoint", False, reached)):
        if not possible:
            continue
        step, rows = mp.mpf("1e-9"), dict(components=[], without=[])
        for i in range(ASSETS):
            sizes = lambda x: [x if i == j else mp.mpf(1) for j in range(ASSETS)]
            up, down = of_sizes(sizes(1 + step), by_expansion), of_sizes(sizes(1 - step), by_expansion)
            rows["components"].append([float((a - b) / (2 * step)) for a, b in zip(up, down)])
            rows["without"].append([float(x) for x in of_sizes(sizes(mp.mpf(0)), by_expansion)])
        result[name] = dict(measures=[float(x) for x in of_sizes([mp.mpf(1)] * ASSETS, by_expansion)], **rows)
    return result


def form_of_sizes(exposures, gamma, sigma, mean, tail):
    def of_sizes(sizes, by_expansion):
        held = [i for i, x in enumerate(sizes) if x > 0]
        x = [mp.sqrt(sizes[i]) for i in held]
        e = [exposures[i] * y * y for i, y in zip(held, x)]
        g = [[gamma[i][j] * y * z for j, z in zip(held, x)] for i, y in zip(held, x)]
        s = [[sigma[i][j] for j in held] for i in held]
        return of_form(e, g, s, [mean[i] for i in held], tail, by_expansion)

    return of_sizes


def past_of_sizes(returns, exposures, mean, days, tail):
    off = (returns - returns.mean(axis=0)) * np.sqrt(days)

    def of_sizes(sizes, by_expansion):
        outcomes = [sum(x * e * float(r) for x, e, r in zip(sizes, exposures, row)) for row in off]
        return of_past(outcomes, sum(x * e * m for x, e, m in zip(sizes, exposures, mean)), tail, by_expansion)

    return of_sizes


def main():
    mp.mp.dps = 30
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
            expanded = cornish_fisher(k1, np.sqrt(k2), s, k, tail)
            of_sizes = form_of_sizes(exposures.tolist(), square.tolist(), sigma.tolist(), mean.tolist(), mp.mpf(tail))
            cases.append(dict(name=name, gamma=gamma, confidence=confidence, days=days, include_mean=with_mean, var=var, es=es, deviation=np.sqrt(k2),
                              skewness=s, excess_kurtosis=k, cornish_fisher=expanded,
                              positions=by_positions(of_sizes, expanded is not None)))
    pnl = returns @ exposures
    past = []
    for confidence, days, with_mean in ((0.95, 1.0, False), (0.99, 10.0, True)):
        mean = pnl.mean() * days * with_mean
        deviation = pnl.std(ddof=1) * np.sqrt(days)
        s, k = stats.skew(pnl), stats.kurtosis(pnl)
        expanded = cornish_fisher(mean, deviation, s, k, 1 - confidence)
        of_sizes = past_of_sizes(returns, exposures.tolist(), (average * days * with_mean).tolist(), days, mp.mpf(1 - confidence))
        past.append(dict(confidence=confidence, days=days, include_mean=with_mean, skewness=s, excess_kurtosis=k,
                         cornish_fisher=expanded, positions=by_positions(of_sizes, expanded is not None, 1 - confidence > 1 / SCENARIOS)))
    print(json.dumps(dict(returns=returns.tolist(), positions=exposures.tolist(), cases=cases, past=past), indent=1))


main()
