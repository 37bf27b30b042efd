"""Writes series.csv, made-up bars, and statistics.csv, the rolling statistics that the features are tested against.

Run: pip install -r requirements.txt; python3 statistics.py      (writes both files beside itself, about five seconds)

Every value is its definition, evaluated anew on each window with numpy. Where pandas has the statistic as a rolling
function, pandas must agree or the script stops. What is written is the definition and not pandas, because pandas keeps
running sums: after the jump in the series their rounding stays in every later window.

How to read statistics.csv
  One row per bar of series.csv, in the same order; `index` counts from 0. Numbers have 17 significant digits, so that
  reading gives the very same f64. A cell is empty where the statistic is not defined: its window is not full (no
  statistic is made from fewer values than it names), or the rule for degenerate windows below says so.

Inputs
  ret            close[t] / close[t-1] - 1; begins at bar 1
  log_ret        ln(close[t]) - ln(close[t-1]); begins at bar 1
  volume_change  volume[t] / volume[t-1] - 1; begins at bar 1
  diff           close[t] - close[t-1]; begins at bar 1
  typical        (high + low + close) / 3
  A window of n ends at, and includes, the bar of its row.

Columns, for n = 5, 20 and 60; "first" is the first bar with a value
  mean(ret,n)            arithmetic mean                                                                  first n
  stdev(ret,n)           square root of the sum of squared deviations over n - 1                          first n
  skew(ret,n)            adjusted Fisher-Pearson: sqrt(n(n-1))/(n-2) * m3/m2^1.5, m_k = mean of (x-mean)^k     first n
  kurt(ret,n)            excess, unbiased: n(n+1)(n-1)/((n-2)(n-3)) * sum d^4/(sum d^2)^2 - 3(n-1)^2/((n-2)(n-3))
                                                                                                          first n
  median(close,n)        the mean of the two middle values when n is even                                 first n-1
  quantile(close,n,0.25) linear interpolation at position 0.25 (n-1) of the sorted window                 first n-1
  rank(close,n)          rank of the newest value among the n, 1 for the smallest, ties share their mean rank, over n
                                                                                                          first n-1
  min(close,n), max(close,n)                                                                              first n-1
  mad(close,n)           mean absolute deviation from the window's mean (not median)                      first n-1
  zscore(close,n)        (newest value - mean) / stdev, ddof 1                                            first n-1
  autocorr(ret,k,n)      Pearson correlation of the last n values of ret with the n values k bars earlier, each with its
                         own mean; k = 1 and 5, n = 20 and 60 only                                    first n+k
  correlation(ret,volume_change,n)   Pearson                                                              first n
  covariance(ret,volume_change,n)    ddof 1                                                               first n
  beta(ret,volume_change,n)          slope of ret on volume_change: covariance / variance of volume_change   first n
  ewma(close,n)          e[0] = close[0], e[t] = e[t-1] + 2/(n+1) (close[t] - e[t-1])                     first 0
  sum(volume,n)                                                                                           first n-1
  vwap(n)                sum(typical * volume) / sum(volume)                                              first n-1
  realized_vol(n)        sqrt(sum log_ret^2), not annualised, no mean taken off                           first n
  bipower(n)             pi/2 * sum |log_ret[i]| |log_ret[i-1]| over the n - 1 neighbours inside the window; a variance,
                         without the factor n/(n-1)                                                       first n
  close_to_close(n)      stdev of log_ret, ddof 1, not annualised                                         first n
  parkinson(n)           sqrt(mean(ln(h/l)^2) / (4 ln 2))                                                 first n-1
  garman_klass(n)        sqrt(mean(0.5 ln(h/l)^2 - (2 ln 2 - 1) ln(c/o)^2))                               first n-1
  rogers_satchell(n)     sqrt(mean(ln(h/c) ln(h/o) + ln(l/c) ln(l/o)))                                    first n-1
  yang_zhang(n)          sqrt(V_overnight + k V_open_close + (1-k) RS), k = 0.34 / (1.34 + (n+1)/(n-1)); V_overnight and
                         V_open_close are the variances (ddof 1) of ln(o/c[t-1]) and ln(c/o), RS is the square of
                         rogers_satchell; all over the same n bars                                        first n
  entropy(ret,n,8)       -sum p ln p over 8 bins of equal width from the window's least to its greatest value; a bin has
                         its lower edge, the last bin both; p is the share of the n values                first n
  hurst(close,60)        n = 60 only. The 60 values of log_ret are cut into one chunk of 60, two of 30, four of 15. For
                         a chunk x: z = cumsum(x - mean), R = max z - min z over those values alone (0 is not added),
                         S = population stdev. The slope of least squares of ln(mean R/S) on ln(length)       first 60
  amihud(n)              mean(|ret| / (close * volume))                                                   first n
  roll(n)                2 sqrt(max(0, -cov)), cov with ddof 1 of the n pairs (diff[t], diff[t-1])        first n+1

Degenerate windows
  Values are called constant when the greatest equals the least, exactly.
  constant ret            stdev 0; skew, kurt, correlation, autocorr, entropy empty; covariance and beta 0
  constant close          zscore empty, mad 0, rank (n+1)/(2n)
  constant volume_change  correlation and beta empty
  a chunk of hurst that is constant: empty
"""

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

SEED = 20240229
BARS = 600
WINDOWS = (5, 20, 60)
# The close stays for eight bars from each of these; from FLAT on, open, high and low stay as well.
STALE = (93, 251, 402, 520)
STALE_BARS = 8
FLAT = 402
SPLIT = 330
# What the rounding of running sums may amount to, as a share of a column's greatest value.
TOLERANCE = 1e-8


def series():
    """Bars of a geometric random walk whose volatility is itself an AR(1) in logarithms."""
    rng = np.random.default_rng(SEED)
    log_vol = np.empty(BARS)
    log_vol[0] = np.log(0.012)
    for t in range(1, BARS):
        log_vol[t] = np.log(0.012) + 0.95 * (log_vol[t - 1] - np.log(0.012)) + 0.15 * rng.standard_normal()
    vol = np.exp(log_vol)
    step = 0.0003 + vol * rng.standard_normal(BARS)
    for start in STALE:
        step[start + 1 : start + STALE_BARS] = 0.0
    # A two-for-one split that nobody adjusted for.
    step[SPLIT] = np.log(0.5)
    close = np.round(250.0 * np.exp(np.cumsum(step)), 2)
    gap = np.exp(0.3 * vol * rng.standard_normal(BARS))
    gap[SPLIT] *= 0.5
    open_ = np.round(np.concatenate(([250.0], close[:-1])) * gap, 2)
    above = np.exp(0.6 * vol * np.abs(rng.standard_normal(BARS)))
    below = np.exp(-0.6 * vol * np.abs(rng.standard_normal(BARS)))
    for array, still in ((above, 1.0), (below, 1.0)):
        array[FLAT + 1 : FLAT + STALE_BARS] = still
    open_[FLAT + 1 : FLAT + STALE_BARS] = close[FLAT]
    high = np.maximum(np.round(np.maximum(open_, close) * above, 2), np.maximum(open_, close))
    low = np.minimum(np.round(np.minimum(open_, close) * below, 2), np.minimum(open_, close))
    volume = np.round(np.exp(13.0 + 0.8 * (log_vol - np.log(0.012)) + 0.4 * rng.standard_normal(BARS))).astype(int)
    volume[SPLIT:] *= 2
    bars = pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": volume})
    assert (bars.high >= bars[["open", "close"]].max(axis=1)).all() and (bars.volume > 0).all()
    assert (bars.low <= bars[["open", "close"]].min(axis=1)).all() and (bars.low > 0).all()
    for start in STALE:
        assert bars.close[start : start + STALE_BARS].nunique() == 1
    return bars


def over(values, n, definition):
    """The definition on every full window of n; NaN where a window is short or holds a NaN."""
    windows = sliding_window_view(np.asarray(values, dtype=float), n)
    full = ~np.isnan(windows).any(axis=1)
    out = np.full(len(values), np.nan)
    out[np.flatnonzero(full) + n - 1] = [definition(window) for window in windows[full]]
    return out


def over2(first, second, n, definition):
    """The same for two series."""
    pairs = [sliding_window_view(np.asarray(values, dtype=float), n) for values in (first, second)]
    full = ~(np.isnan(pairs[0]).any(axis=1) | np.isnan(pairs[1]).any(axis=1))
    out = np.full(len(first), np.nan)
    out[np.flatnonzero(full) + n - 1] = [definition(x, y) for x, y in zip(pairs[0][full], pairs[1][full])]
    return out


def constant(x):
    return x.max() == x.min()


def mean(x):
    # The sum of equal values, divided, is not always the value.
    return x[0] if constant(x) else x.sum() / len(x)


def deviations(x):
    return x - mean(x)


def variance(x):
    return (deviations(x) ** 2).sum() / (len(x) - 1)


def stdev(x):
    return np.sqrt(variance(x))


def skew(x):
    n, d = len(x), deviations(x)
    if constant(x):
        return np.nan
    return np.sqrt(n * (n - 1)) / (n - 2) * np.mean(d**3) / np.mean(d**2) ** 1.5


def kurt(x):
    n, d = len(x), deviations(x)
    if constant(x):
        return np.nan
    scale = (n - 2) * (n - 3)
    return n * (n + 1) * (n - 1) / scale * (d**4).sum() / (d**2).sum() ** 2 - 3 * (n - 1) ** 2 / scale


def median(x):
    n, x = len(x), np.sort(x)
    return x[n // 2] if n % 2 else (x[n // 2 - 1] + x[n // 2]) / 2


def quantile(x):
    x, position = np.sort(x), 0.25 * (len(x) - 1)
    below = int(position)
    return x[below] + (position - below) * (x[below + 1] - x[below])


def rank(x):
    less, equal = (x < x[-1]).sum(), (x == x[-1]).sum()
    return (less + (equal + 1) / 2) / len(x)


def mad(x):
    return np.abs(deviations(x)).mean()


def zscore(x):
    return np.nan if constant(x) else (x[-1] - mean(x)) / stdev(x)


def covariance(x, y):
    return (deviations(x) * deviations(y)).sum() / (len(x) - 1)


def correlation(x, y):
    if constant(x) or constant(y):
        return np.nan
    return covariance(x, y) / np.sqrt(variance(x) * variance(y))


def beta(y, x):
    return np.nan if constant(x) else covariance(x, y) / variance(x)


def bipower(x):
    return np.pi / 2 * (np.abs(x[1:]) * np.abs(x[:-1])).sum()


def entropy(x):
    if constant(x):
        return np.nan
    bins = np.minimum(((x - x.min()) / (x.max() - x.min()) * 8).astype(int), 7)
    counts = np.bincount(bins, minlength=8)
    # numpy places values near an edge by comparing them with it; no window of this series has one in doubt.
    assert (counts == np.histogram(x, bins=8)[0]).all()
    p = counts[counts > 0] / len(x)
    return -(p * np.log(p)).sum()


def rescaled_range(x):
    if constant(x):
        return np.nan
    z = np.cumsum(deviations(x))
    return (z.max() - z.min()) / np.sqrt((deviations(x) ** 2).mean())


def hurst(x):
    lengths = [len(x), len(x) // 2, len(x) // 4]
    ranges = [np.mean([rescaled_range(chunk) for chunk in x.reshape(-1, length)]) for length in lengths]
    across, up = np.log(lengths), np.log(ranges)
    return (deviations(across) * (up - up.mean())).sum() / (deviations(across) ** 2).sum()


def ewma(values, n):
    out = [float(values[0])]
    for value in values[1:]:
        out.append(out[-1] + 2 / (n + 1) * (value - out[-1]))
    return np.array(out)


def statistics(bars):
    """Columns by name: what is written, and the same by pandas' rolling functions or None."""
    o, h, l, c, v = (bars[name].astype(float) for name in ("open", "high", "low", "close", "volume"))
    ret, log_ret, volume_change, diff = c.pct_change(), np.log(c).diff(), v.pct_change(), c.diff()
    typical = (h + l + c) / 3
    range_squared, open_close, overnight = np.log(h / l) ** 2, np.log(c / o), np.log(o / c.shift())
    garman_klass = 0.5 * range_squared - (2 * np.log(2) - 1) * open_close**2
    rogers_satchell = np.log(h / c) * np.log(h / o) + np.log(l / c) * np.log(l / o)
    illiquidity = ret.abs() / (c * v)
    out = {}
    for n in WINDOWS:
        k = 0.34 / (1.34 + (n + 1) / (n - 1))
        out[f"mean(ret,{n})"] = over(ret, n, mean), ret.rolling(n).mean()
        out[f"stdev(ret,{n})"] = over(ret, n, stdev), ret.rolling(n).std()
        out[f"skew(ret,{n})"] = over(ret, n, skew), ret.rolling(n).skew()
        out[f"kurt(ret,{n})"] = over(ret, n, kurt), ret.rolling(n).kurt()
        out[f"median(close,{n})"] = over(c, n, median), c.rolling(n).median()
        out[f"quantile(close,{n},0.25)"] = over(c, n, quantile), c.rolling(n).quantile(0.25, interpolation="linear")
        out[f"rank(close,{n})"] = over(c, n, rank), c.rolling(n).rank(method="average", pct=True)
        out[f"min(close,{n})"] = over(c, n, np.min), c.rolling(n).min()
        out[f"max(close,{n})"] = over(c, n, np.max), c.rolling(n).max()
        out[f"mad(close,{n})"] = over(c, n, mad), None
        z = (c - c.rolling(n).mean()) / c.rolling(n).std()
        out[f"zscore(close,{n})"] = over(c, n, zscore), z
        for lag in (1, 5) if n > 5 else ():
            lagged = ret.shift(lag)
            out[f"autocorr(ret,{lag},{n})"] = over2(ret, lagged, n, correlation), ret.rolling(n).corr(lagged)
        both = ret, volume_change
        out[f"correlation(ret,volume_change,{n})"] = over2(*both, n, correlation), ret.rolling(n).corr(volume_change)
        cov = ret.rolling(n).cov(volume_change)
        out[f"covariance(ret,volume_change,{n})"] = over2(*both, n, covariance), cov
        out[f"beta(ret,volume_change,{n})"] = over2(*both, n, beta), cov / volume_change.rolling(n).var()
        out[f"ewma(close,{n})"] = ewma(c, n), c.ewm(alpha=2 / (n + 1), adjust=False).mean()
        out[f"sum(volume,{n})"] = over(v, n, np.sum), v.rolling(n).sum()
        vwap = (typical * v).rolling(n).sum() / v.rolling(n).sum()
        out[f"vwap({n})"] = over(typical * v, n, np.sum) / over(v, n, np.sum), vwap
        squares = over(log_ret**2, n, np.sum)
        out[f"realized_vol({n})"] = np.sqrt(squares), (log_ret**2).rolling(n).sum() ** 0.5
        neighbours = (log_ret.abs() * log_ret.abs().shift()).rolling(n - 1).sum() * np.pi / 2
        out[f"bipower({n})"] = over(log_ret, n, bipower), neighbours
        out[f"close_to_close({n})"] = over(log_ret, n, stdev), log_ret.rolling(n).std()
        parkinson = (range_squared.rolling(n).mean().clip(0) / (4 * np.log(2))) ** 0.5
        out[f"parkinson({n})"] = np.sqrt(over(range_squared, n, mean) / (4 * np.log(2))), parkinson
        out[f"garman_klass({n})"] = np.sqrt(over(garman_klass, n, mean)), garman_klass.rolling(n).mean().clip(0) ** 0.5
        rolled = rogers_satchell.rolling(n).mean().clip(0)
        out[f"rogers_satchell({n})"] = np.sqrt(over(rogers_satchell, n, mean)), rolled**0.5
        parts = over(overnight, n, variance), over(open_close, n, variance), over(rogers_satchell, n, mean)
        yang_zhang = (overnight.rolling(n).var() + k * open_close.rolling(n).var() + (1 - k) * rolled) ** 0.5
        out[f"yang_zhang({n})"] = np.sqrt(parts[0] + k * parts[1] + (1 - k) * parts[2]), yang_zhang
        out[f"entropy(ret,{n},8)"] = over(ret, n, entropy), None
        if n == 60:
            out[f"hurst(close,{n})"] = over(log_ret, n, hurst), None
        out[f"amihud({n})"] = over(illiquidity, n, mean), illiquidity.rolling(n).mean()
        bounce = over2(diff, diff.shift(), n, covariance)
        rolled = (-diff.rolling(n).cov(diff.shift())).clip(0)
        out[f"roll({n})"] = 2 * np.sqrt(np.maximum(0.0, -bounce)), 2 * rolled**0.5
    return out


def agree(name, ours, pandas):
    """Stops where pandas defines other cells, or differs by more than TOLERANCE of the column's greatest value."""
    ours, pandas = np.asarray(ours), np.asarray(pandas, dtype=float)
    odd = np.flatnonzero(np.isnan(ours) != np.isnan(pandas))
    if len(odd):
        sys.exit(f"{name}: defined here or by pandas, but not by both, at bars {odd.tolist()}")
    difference = np.nanmax(np.abs(ours - pandas)) / np.nanmax(np.abs(ours))
    if difference > TOLERANCE:
        sys.exit(f"{name}: differs from pandas by {difference:.1e} of its greatest value")
    return difference


def cell(value):
    # Adding zero takes the sign off a negative zero, which no two programs agree on.
    return "" if np.isnan(value) else format(value + 0.0, ".17g")


def main():
    folder = Path(__file__).resolve().parent
    bars = series()
    bars.to_csv(folder / "series.csv", index_label="index", lineterminator="\n")
    table = statistics(bars)
    compared = {name: agree(name, *pair) for name, pair in table.items() if pair[1] is not None}
    with open(folder / "statistics.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["index", *table])
        for row in range(BARS):
            writer.writerow([row, *(cell(np.asarray(ours)[row]) for ours, _ in table.values())])
    worst = max(compared, key=compared.get)
    print(f"{len(table)} columns, {len(compared)} of them compared with pandas {pd.__version__}; the most distant is")
    print(f"{worst}, by {compared[worst]:.1e} of its greatest value")


if __name__ == "__main__":
    main()
