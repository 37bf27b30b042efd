"""Writes validation_reference.json, records of forecasts and what independent code says of them (scipy, statsmodels).

Run: pip install numpy scipy statsmodels; python3 validation_reference.py > validation_reference.json

Statistics are computed otherwise than in the engine: likelihood ratios of exceptions from scipy's binomial and geometric
probabilities and from its G-test of a 2x2 table, Berkowitz's from a numerical search of the likelihood, which is checked
against statsmodels' state-space ARIMA. P-values of Z1 and Z2 are simulated with numpy's generator, period by period.
"""
import json

import numpy as np
from scipy import optimize, stats
from statsmodels.tsa.arima.model import ARIMA

PATHS = 20_000


def record(seed, n, confidence, scale=1.0, persistence=0.0, pit=True):
    """Normal forecasts of deviation 1 to 2; outcomes `scale` times as wide, autocorrelated by `persistence`."""
    rng = np.random.default_rng(seed)
    sigma = np.round(1 + rng.random(n), 3)
    z = rng.standard_normal(n)
    for t in range(1, n):
        z[t] = persistence * z[t - 1] + np.sqrt(1 - persistence**2) * z[t]
    q = stats.norm.ppf(confidence)
    var = np.round(q * sigma, 5)
    es = np.round(stats.norm.pdf(q) / (1 - confidence) * sigma, 5)
    pnl = np.round(scale * z * sigma, 5)
    return confidence, var, es, np.round(stats.norm.cdf(pnl / sigma), 9) if pit else None, pnl


def hand_made(confidence, hits):
    n = len(hits)
    hits = np.array(hits, bool)
    return confidence, np.ones(n), np.full(n, 1.25), None, np.where(hits, -1.5, 0.5)


def proportion(hits, p):
    n, x = len(hits), int(hits.sum())
    statistic = 2 * (stats.binom.logpmf(x, n, x / n) - stats.binom.logpmf(x, n, p))
    return statistic, stats.chi2.sf(statistic, 1)


def first_failure(hits, p):
    if not hits.any():
        return None
    v = int(np.argmax(hits)) + 1
    statistic = 2 * (stats.geom.logpmf(v, 1 / v) - stats.geom.logpmf(v, p))
    return statistic, stats.chi2.sf(statistic, 1)


def independence(hits):
    table = np.zeros((2, 2))
    np.add.at(table, (hits[:-1].astype(int), hits[1:].astype(int)), 1)
    # Where a margin is empty both likelihoods are the same.
    statistic = 0.0
    if (table.sum(0) > 0).all() and (table.sum(1) > 0).all():
        statistic = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")[0]
    return statistic, stats.chi2.sf(statistic, 1)


def shortfall(var, es, p, pnl, seed):
    hits = pnl < -var
    z2 = (pnl[hits] / es[hits]).sum() / (len(pnl) * p) + 1
    z1 = (pnl[hits] / es[hits]).mean() + 1 if hits.any() else None
    rng = np.random.default_rng(seed)
    drawn_hits = rng.random((PATHS, len(pnl))) < p
    losses = var + rng.exponential(size=drawn_hits.shape) * (es - var)
    sums = -(drawn_hits * losses / es).sum(1)
    counts = drawn_hits.sum(1)
    p2 = np.mean(sums / (len(pnl) * p) + 1 <= z2)
    some = counts > 0
    p1 = np.mean(sums[some] / counts[some] + 1 <= z1) if z1 is not None else None
    return (z1, p1) if z1 is not None else None, (z2, p2)


def berkowitz(pit):
    z = stats.norm.ppf(pit)

    def minus_log_likelihood(parameters):
        mu, log_sigma, fisher = parameters
        rho, sigma = np.tanh(fisher), np.exp(log_sigma)
        first = stats.norm.logpdf(z[0], mu, sigma / np.sqrt(1 - rho**2))
        return -first - stats.norm.logpdf(z[1:], mu + rho * (z[:-1] - mu), sigma).sum()

    found = min(
        (
            optimize.minimize(minus_log_likelihood, (z.mean(), np.log(z.std()), start), method="Nelder-Mead",
                              options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20_000})
            for start in (-0.3, 0.0, 0.3)
        ),
        key=lambda answer: answer.fun,
    )
    arima = ARIMA(z, order=(1, 0, 0), trend="c").fit()
    assert abs(arima.llf + found.fun) < 1e-5, (arima.llf, found.fun)
    statistic = 2 * (-found.fun - stats.norm.logpdf(z).sum())
    return statistic, stats.chi2.sf(statistic, 3)


def kolmogorov(pit):
    statistic = stats.kstest(pit, "uniform").statistic
    root = np.sqrt(len(pit))
    # The corrected limit that the engine takes, and the exact probability that it approximates.
    return statistic, stats.kstwobign.sf((root + 0.12 + 0.11 / root) * statistic), stats.kstwo.sf(statistic, len(pit))


CASES = {
    "right": record(1, 250, 0.99),
    "right_975": record(2, 250, 0.975),
    "too_narrow": record(3, 250, 0.975, scale=1.4),
    "too_wide": record(4, 250, 0.95, scale=0.6),
    "clustered": record(5, 250, 0.95, persistence=0.6),
    "long": record(6, 400, 0.99, scale=1.1, pit=False),
    "short": record(7, 12, 0.99),
    "no_exception": hand_made(0.99, [0] * 250),
    "all_exceptions": hand_made(0.95, [1] * 30),
    "first_only": hand_made(0.99, [1] + [0] * 249),
    "last_only": hand_made(0.99, [0] * 249 + [1]),
    "pairs": hand_made(0.975, ([0] * 48 + [1, 1]) * 4),
    "alternating": hand_made(0.95, [0, 1] * 20),
    "one": hand_made(0.99, [1]),
}

answers = []
for name, (confidence, var, es, pit, pnl) in CASES.items():
    p = 1 - confidence
    hits = pnl < -var
    n, x = len(hits), int(hits.sum())
    tests = {"kupiec_proportion": proportion(hits, p), "kupiec_first_failure": first_failure(hits, p),
             "christoffersen_independence": independence(hits)}
    both = tests["kupiec_proportion"][0] + tests["christoffersen_independence"][0]
    tests["christoffersen_conditional_coverage"] = (both, stats.chi2.sf(both, 2))
    tests["acerbi_szekely_z1"], tests["acerbi_szekely_z2"] = shortfall(var, es, p, pnl, len(answers))
    exact = None
    if pit is not None:
        *tests["kolmogorov_smirnov"], exact = kolmogorov(pit)
        tests["berkowitz"] = berkowitz(pit)
    answers.append({
        "name": name, "confidence": confidence, "var": var.tolist(), "es": es.tolist(),
        "pit": None if pit is None else pit.tolist(), "pnl": pnl.tolist(), "exceptions": x, "tests": tests,
        "kolmogorov_exact": exact, "cumulative": stats.binom.cdf(x, n, p),
        "yellow_from": max(1, int(stats.binom.ppf(0.95, n, p))), "red_from": int(stats.binom.ppf(0.9999, n, p)),
    })
print(json.dumps(answers, separators=(",", ":")).replace('{"name"', '\n{"name"'))
