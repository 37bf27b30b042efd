"""Writes backtest_reference.json: 33 years of 99 % VaR and ES of twenty real stocks, what became of them, and the tests of both.

Run: pip install numpy scipy; python3 backtest_reference.py sp500_dataset.csv.gz > backtest_reference.json
The file is skfolio's data set of adjusted closes, 1990 to 2022; only the forecasts of some days are written.

Nothing is shared with the engine: whole matrices of returns instead of a record day by day, numpy's quantile, likelihood
ratios from scipy's binomial and geometric probabilities and from its G-test of a 2x2 table.
"""
import csv
import gzip
import json
import sys

import numpy as np
from scipy import stats

WINDOW, FEWEST, KEPT, YEAR, P = 250, 20, 4096, 250, 0.01
rows = list(csv.reader(gzip.open(sys.argv[1], "rt")))
dates = [row[0] for row in rows[1:]]
prices = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])
held = 100.0 * (1 + np.arange(prices.shape[1]))
returns = prices[1:] / prices[:-1] - 1  # returns[k] leads from close k to close k + 1


def forecast(day):
    """Made when `day` begins: worth at the close before; scenarios were made a day earlier, of the closes up to then."""
    window = returns[:day - 2][-WINDOW:]
    pnl = window @ (held * prices[day - 1])
    var = -np.quantile(pnl, P, method="inverted_cdf")
    return var, -np.sort(pnl)[: int(np.ceil(P * len(pnl) - 1e-9))].mean()


days = np.arange(FEWEST + 2, len(prices))
var, es = np.array([forecast(day) for day in days]).T
outcome = (prices[days] - prices[days - 1]) @ held


def answer(var, es, outcome):
    hits = outcome < -var
    n, x = len(hits), int(hits.sum())
    kupiec = 2 * (stats.binom.logpmf(x, n, x / n) - stats.binom.logpmf(x, n, P))
    first = int(np.argmax(hits)) + 1
    failure = 2 * (stats.geom.logpmf(first, 1 / first) - stats.geom.logpmf(first, P))
    table = np.zeros((2, 2))
    np.add.at(table, (hits[:-1].astype(int), hits[1:].astype(int)), 1)
    independence = 0.0
    if (table.sum(0) > 0).all() and (table.sum(1) > 0).all():
        independence = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")[0]
    ratios = outcome[hits] / es[hits]
    cumulative = stats.binom.cdf(x, n, P)
    return {
        "exceptions": x,
        "tests": {
            "kupiec_proportion": [kupiec, stats.chi2.sf(kupiec, 1)],
            "kupiec_first_failure": [failure, stats.chi2.sf(failure, 1)] if x else None,
            "christoffersen_independence": [independence, stats.chi2.sf(independence, 1)],
            "christoffersen_conditional_coverage": [kupiec + independence, stats.chi2.sf(kupiec + independence, 2)],
            "acerbi_szekely_z1": [ratios.mean() + 1, None] if x else None,
            "acerbi_szekely_z2": [ratios.sum() / (n * P) + 1, None],
        },
        "cumulative": cumulative,
        "zone": "green" if cumulative < 0.95 else "yellow" if cumulative < 0.9999 else "red",
    }


some = list(range(0, len(days), 300)) + [len(days) - 1]
print(json.dumps({
    "forecasts": [[dates[days[at]], var[at], es[at], outcome[at]] for at in some],
    "count": len(days),
    "record": answer(var[-KEPT:], es[-KEPT:], outcome[-KEPT:]),
    "years": [answer(var[at:at + YEAR], es[at:at + YEAR], outcome[at:at + YEAR])
              for at in range(0, len(days) - YEAR + 1, YEAR)],
}, indent=1))
