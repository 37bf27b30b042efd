"""Writes measures_reference.json, the values that tests/measures.rs holds calculate_var against.

Run: pip install numpy scipy arch; python3 measures_reference.py sp500.csv.gz > measures_reference.json
The file is the S&P 500 from 1999 to 2018 that arch brings; only the fit of its returns is written.
numpy gives quantiles and everything that is recomputed by definition (leave-one-out by a loop over positions), scipy the
binomial and beta distributions, the integrals of spectra and the minimum of the entropic measure, arch the GARCH fits.
"""
import csv
import gzip
import json
import sys

import numpy as np
from arch import arch_model
from scipy import integrate, optimize, stats

SCENARIOS, ASSETS = 400, 6
generator = np.random.default_rng(20261129)
# Volatility that clusters, fat tails, a common factor.
returns = np.empty((SCENARIOS, ASSETS))
variance = np.full(ASSETS, 1e-4)
for t in range(SCENARIOS):
    shock = (0.5 * generator.standard_t(5) + generator.standard_t(5, ASSETS)) / np.sqrt(1.25 * 5 / 3)
    returns[t] = np.round(np.sqrt(variance) * shock, 7)
    variance = 4e-6 + 0.08 * returns[t] ** 2 + 0.88 * variance
positions = np.array([1e6, -4e5, 2.5e5, 0.0, 7e5, -1e5])

CONVENTIONS = (
    "inverted_cdf interpolated_inverted_cdf hazen weibull linear median_unbiased normal_unbiased lower higher".split()
)


def tail(pnl, q, convention="inverted_cdf", weights=None):
    """VaR and ES, losses positive."""
    if weights is None:
        var = np.quantile(pnl, q, method=convention)
        inside = pnl <= var
        if not inside.any():
            inside = pnl == pnl.min()
        return -var, -pnl[inside].mean()
    var = np.quantile(pnl, q, method=convention, weights=weights)
    inside = pnl <= var
    return -var, -np.average(pnl[inside], weights=weights[inside])


def measures(cube, held, confidence, convention="inverted_cdf", weights=None):
    q = round(1 - confidence, 12)
    pnl = cube @ held
    var, es = tail(pnl, q, convention, weights)
    without = np.array([tail(pnl - cube[:, i] * held[i], q, convention, weights) for i in range(len(held))])
    inside = pnl <= -var if (pnl <= -var).any() else pnl == pnl.min()
    component_es = -np.average(cube[inside] * held, axis=0, weights=None if weights is None else weights[inside])
    answer = {
        "var": var,
        "es": es,
        "component_es": component_es,
        "incremental_var": var - without[:, 0],
        "incremental_es": es - without[:, 1],
    }
    at = np.flatnonzero(pnl == -var)
    if len(at) == 1:
        answer["component_var"] = -cube[at[0]] * held
        answer["marginal_var"] = -cube[at[0]]
    return answer


def precision(pnl, confidence):
    """Where n·q is whole, so that the order statistic is the one of Maritz and Jarrett."""
    q, n = round(1 - confidence, 12), len(pnl)
    var, es = tail(pnl, q)
    k = round(n * q)
    assert abs(n * q - k) < 1e-9
    inside = pnl <= -var
    r = stats.binom.ppf(0.025, n, q)
    r = int(r if stats.binom.cdf(r, n, q) > 0.025 else r + 1)
    s = int(stats.binom.ppf(0.975, n, q)) + 1
    ordered = np.sort(pnl)
    edges = np.arange(n + 1) / n
    mass = np.diff(stats.beta.cdf(edges, k, n - k + 1))
    error = np.sqrt((mass * (ordered - (mass * ordered).sum()) ** 2).sum())
    # What it is by definition, to sampling error. scipy's mjci has Beta(k - 1, n - k), which is not the k-th of n.
    drawn = np.partition(generator.choice(pnl, (40_000, n)), k - 1, axis=1)[:, k - 1]
    assert abs(drawn.std() / error - 1) < 0.02
    return {
        "standard_error": {
            "var": error,
            "es": np.sqrt((pnl[inside].var() + (1 - q) * (es - var) ** 2) / (n * q)),
        },
        "confidence_interval": {
            "var": {"lower": -ordered[s - 1], "upper": -ordered[r - 1] if r > 0 else None},
        },
    }


def weighted_precision(pnl, weights, confidence):
    q, n = round(1 - confidence, 12), 1 / (weights**2).sum()
    order = np.argsort(pnl)
    ordered, edges = pnl[order], np.concatenate([[0], np.cumsum(weights[order])])
    mass = np.diff(stats.beta.cdf(np.minimum(edges, 1), n * q, n - n * q + 1))
    mean = (mass * ordered).sum()
    half = stats.norm.ppf(0.975) * np.sqrt(q * (1 - q) / n)
    quantile = lambda p: -np.quantile(pnl, p, method="inverted_cdf", weights=weights) if p > 0 else None
    return {
        "standard_error": {"var": np.sqrt((mass * (ordered - mean) ** 2).sum())},
        "confidence_interval": {"var": {"lower": quantile(q + half), "upper": quantile(q - half)}},
    }


def ewma(series, decay):
    variances = [np.mean(series**2)]
    for value in series:
        variances.append(decay * variances[-1] + (1 - decay) * value**2)
    return np.array(variances)


def filtered(cube, decay):
    out = np.empty_like(cube)
    for i, series in enumerate(cube.T):
        sigma = np.sqrt(ewma(series, decay))
        out[:, i] = series * sigma[-1] / sigma[:-1]
    return out


def garch(series):
    """In percent, the unit that arch converges in."""
    model = arch_model(100 * series, mean="Zero", vol="GARCH", p=1, q=1, rescale=False)
    fit = model.fit(disp="off", tol=1e-10, options={"maxiter": 2000})
    omega, alpha, beta = fit.params
    likelihood = fit.loglikelihood + len(series) * np.log(100)
    sigma = np.append(fit.conditional_volatility / 100, np.nan)
    sigma[-1] = np.sqrt(omega / 1e4 + alpha * series[-1] ** 2 + beta * sigma[-2] ** 2)
    return {"omega": omega / 1e4, "alpha": alpha, "beta": beta, "log_likelihood": likelihood}, sigma


def spectral(pnl, density):
    n = len(pnl)
    mass = [integrate.quad(density, i / n, (i + 1) / n, epsabs=0, epsrel=1e-13)[0] for i in range(n)]
    return -(np.array(mass) * np.sort(pnl)).sum()


def entropic(pnl, q, weights=None):
    p = np.full(len(pnl), 1 / len(pnl)) if weights is None else weights
    losses = -pnl / pnl.std()

    def objective(log_t):
        t = np.exp(log_t)
        top = (t * losses).max()
        return (top + np.log((p * np.exp(t * losses - top)).sum()) - np.log(q)) / t

    best = optimize.minimize_scalar(objective, bounds=(-6, 8), method="bounded", options={"xatol": 1e-10})
    return best.fun * pnl.std()


cases = []


def case(name, request, answer):
    cases.append({"name": name, "request": request, "answer": answer})


pnl = returns @ positions
for confidence in (0.95, 0.975, 0.987, 0.99):
    for convention in CONVENTIONS:
        request = {"confidence": confidence, "convention": convention}
        case(f"{convention} {confidence}", request, measures(returns, positions, confidence, convention))
for confidence in (0.95, 0.975, 0.99):
    case(f"precision {confidence}", {"confidence": confidence}, precision(pnl, confidence))
case(
    "10 days by the root of time",
    {"confidence": 0.95, "horizon_days": 10},
    measures(np.sqrt(10) * returns, positions, 0.95),
)
for days in (2, 5, 10):
    windows = np.lib.stride_tricks.sliding_window_view(returns, days, axis=0).sum(axis=-1)
    request = {"confidence": 0.95, "horizon_days": days, "horizon_rule": "overlapping"}
    case(f"{days} days overlapping", request, measures(windows, positions, 0.95))
for decay in (0.97, 0.99):
    weights = decay ** np.arange(SCENARIOS - 1, -1, -1)
    weights /= weights.sum()
    for confidence in (0.95, 0.99):
        answer = measures(returns, positions, confidence, weights=weights)
        # Below one effective scenario in the tail there is no standard error.
        if round(1 - confidence, 12) >= (weights**2).sum():
            answer |= weighted_precision(pnl, weights, confidence)
        else:
            answer["standard_error"] = {"var": None}
        answer["evar"] = entropic(pnl, round(1 - confidence, 12), weights)
        request = {"confidence": confidence, "method": "age_weighted", "decay": decay, "evar": True}
        case(f"age {decay} {confidence}", request, answer)
for decay in (0.94, 0.99):
    request = {"confidence": 0.95, "method": "filtered_historical", "decay": decay}
    case(f"filtered {decay}", request, measures(filtered(returns, decay), positions, 0.95))
for aversion in (1.0, 25.0, 200.0):
    whole = 1 - np.exp(-aversion)
    answer = {"spectral": spectral(pnl, lambda p: aversion * np.exp(-aversion * p) / whole)}
    case(f"aversion {aversion}", {"spectral": {"risk_aversion": aversion}}, answer)
bands = np.array([5.0, 2.0, 2.0, 0.5, 0.25, 0.0, 0.0])
steps = lambda p: bands[min(int(p * 7), 6)] * 7 / bands.sum()
edges = np.linspace(0, 1, 8)
mass = lambda p: np.interp(p, edges, np.concatenate([[0], np.cumsum(bands)]) / bands.sum())
answer = {"spectral": -(np.diff(mass(np.arange(SCENARIOS + 1) / SCENARIOS)) * np.sort(pnl)).sum()}
assert abs(sum(integrate.quad(steps, i / 7, (i + 1) / 7)[0] for i in range(7)) - 1) < 1e-9
case("bands", {"spectral": {"weights": list(bands)}}, answer)
for confidence in (0.9, 0.95, 0.99):
    answer = {"evar": entropic(pnl, round(1 - confidence, 12))}
    case(f"entropic {confidence}", {"confidence": confidence, "evar": True}, answer)

fits, scaled = [], np.empty_like(returns)
for i, series in enumerate(returns.T):
    fit, sigma = garch(series)
    fits.append(fit)
    scaled[:, i] = series * sigma[-1] / sigma[:-1]
with gzip.open(sys.argv[1], "rt") as file:
    prices = np.array([float(row["Adj Close"]) for row in csv.DictReader(file)])
sp500, _ = garch(prices[1:] / prices[:-1] - 1)
garch_measures = measures(scaled, positions, 0.95)


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int)) else float(value)


report = {
    "returns": returns,
    "positions": positions,
    "cases": cases,
    "garch": {"fits": fits, "sp500": sp500, "var": garch_measures["var"], "es": garch_measures["es"]},
}
head = json.dumps(plain({key: value for key, value in report.items() if key != "cases"}))
print(head[:-1] + ', "cases": [')
print(",\n".join(json.dumps(plain(item)) for item in cases))
print("]}")
