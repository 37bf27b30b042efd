"""Races Python libraries at what the features engine does: at one bar close, refresh every feature of N instruments.

Run: eval "$(./prepare.sh)"
     $NAUTILUS_PEER_FEATURES_PYTHON race.py bars.bin features.json --values values.json > report.json

bars.bin: a line {"instruments":N,"bars":T}, a newline, then open, high, low, close, volume: each N*T f64,
  little-endian, an instrument after the other, the oldest bar first. No NaN.
features.json: [{"id":"sma_20","kind":"sma","n":20},...]; KINDS below lists the kinds and what they mean. `macd` takes
  fast, slow and signal (12, 26, 9) in place of n, `bbands_upper` takes deviations (2) as well, `obv` takes no n.

What is raced, one thread each
  talib           the function on the last 300 bars, per instrument and feature; its last value is kept
  talib_stream    a handle per instrument and feature, opened on history beforehand: update(newest bar), constant time
  pandas          frames of 300 bars by N instruments: rolling(n), last row
  pandas_tail     the same frames: the last n rows, reduced
  polars          a frame of N * 300 rows, grouped by symbol: rolling_*(n).last(), all features in one query; grouping
                  is up to three times faster than .over("symbol") and many times faster than a column per instrument
  polars_tail     the same frame: tail(n), reduced, all features in one query
  A form leaves out the features its library has no function for (pandas has no rolling weights, TA-Lib no median).
  What has memory is computed alike in both forms of pandas and of polars, from all 300 bars.

What a round is
  Round r refreshes at bar T - rounds + r, after one round that does not count; the last is at the last bar. Each round
  runs every form once, in rotating order. Handing the library its window (slices, frames, the appending of the bar)
  happens before the clock starts, which favours the peers. The garbage collector is off.

report.json (standard output): head, then per form: features, skipped (with reasons), values (features * N), seconds
  (median, min, max, rounds), values_per_second by the median, and the median seconds by feature (null where one query
  does all; what several features share is counted with the first). agreement: per feature and form the greatest
  difference from the first form that has it, as a share of the greatest value.
values.json: {"bar": T-1, "values": {form: {id: [one per instrument, null where not finite]}}} of the last round.

What to mind when comparing values
  Features with memory (ema, rsi, atr, natr, adx, macd) start at the window's first bar: TA-Lib with the mean of the
  first n values, pandas and polars with the first value. The start weighs (1 - alpha)^(300 - n), for Wilder's with
  n = 14 and 20 about 1e-9 and 1e-6. To compare with state kept from the first bar on, write T equal to the window.
  obv begins at the window's first bar with that bar's volume.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time

# One thread for all, set before the libraries read it.
for variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pandas as pd
import polars as pl
import talib
from talib import stream

KINDS = {
    "sma": "mean of n closes",
    "ema": "exponential mean of closes, alpha = 2/(n+1)",
    "rsi": "of closes, smoothed by Wilder",
    "stddev": "of n closes, ddof 0",
    "var": "of n closes, ddof 0",
    "min": "least of n closes",
    "max": "greatest of n closes",
    "wma": "mean of n closes with the weights 1 to n",
    "roc": "100 (close / close n bars ago - 1)",
    "mom": "close - close n bars ago",
    "cci": "typical price off its mean of n, over 0.015 mean absolute deviations",
    "willr": "-100 (greatest high of n - close) / (greatest high - least low)",
    "atr": "true range, smoothed by Wilder",
    "natr": "100 atr / close",
    "adx": "by Wilder",
    "macd": "the line: ema fast - ema slow",
    "bbands_upper": "sma + deviations * stddev",
    "mfi": "money flow index over n",
    "obv": "on-balance volume since the window's first bar, whose volume it begins with",
    "linearreg_slope": "of n closes on time",
    "correl": "Pearson, of n highs and lows",
    "mean_ret": "mean of n returns close / close before - 1",
    "std_ret": "of n returns, ddof 1",
    "skew_ret": "of n returns, unbiased",
    "kurt_ret": "of n returns, excess, unbiased",
    "median": "of n closes",
    "zscore": "(close - sma) / standard deviation of n closes with ddof 1",
}


class Bars:
    def __init__(self, path):
        with open(path, "rb") as file:
            head = json.loads(file.readline())
            self.instruments, self.bars = int(head["instruments"]), int(head["bars"])
            count = self.instruments * self.bars
            data = file.read()
        if count == 0 or len(data) != 8 * 5 * count:
            sys.exit(f"{path}: {len(data)} bytes after the first line, not 8 * 5 * {self.instruments} * {self.bars}")
        values = np.frombuffer(data, dtype="<f8")
        if not np.isfinite(values).all():
            sys.exit(f"{path}: a value is not finite")
        shape = (5, self.instruments, self.bars)
        self.open, self.high, self.low, self.close, self.volume = values.astype(float).reshape(shape)

    def window(self, begin, end):
        """High, low, close and volume from one bar to before another."""
        arrays = self.high, self.low, self.close, self.volume
        return tuple(np.ascontiguousarray(array[:, begin:end]) for array in arrays)


class Feature:
    def __init__(self, spec):
        self.id, self.kind = spec["id"], spec["kind"]
        if self.kind not in KINDS:
            sys.exit(f"{self.id}: no kind {self.kind}")
        if "n" not in spec and self.kind not in ("obv", "macd"):
            sys.exit(f"{self.id}: n is missing")
        self.n = int(spec.get("n", 0))
        self.deviations = float(spec.get("deviations", 2))
        self.fast, self.slow, self.signal = (
            int(spec.get(name, default)) for name, default in (("fast", 12), ("slow", 26), ("signal", 9))
        )

        # What turns a deviation with ddof 0 into one with ddof 1.
        self.unbiased = (self.n / (self.n - 1)) ** 0.5 if self.n > 1 else float("nan")

    def lookback(self):
        """Bars before the first value, of the function that needs most."""
        if self.kind == "macd":
            return self.slow + self.signal
        return 2 * self.n if self.kind == "adx" else self.n


def one_by_one(features, compute):
    """Values and seconds by feature, for forms that compute a feature after the other."""
    values, seconds = {}, {}
    for feature in features:
        begin = time.perf_counter()
        values[feature.id] = compute(feature)
        seconds[feature.id] = time.perf_counter() - begin
    return values, seconds


class Talib:
    """The function on the window, instrument by instrument."""

    name = "talib"
    version = f"TA-Lib {talib.__version__}, C library {talib.__ta_version__.decode().split(' ')[0]}"
    cannot = dict.fromkeys(("skew_ret", "kurt_ret", "median"), "no such function")

    def begin(self, features, bars, begin, end):
        pass

    def prepare(self, bars, begin, end):
        self.rows = list(zip(*bars.window(begin, end)))

    def refresh(self, features):
        return one_by_one(features, self.compute)

    def compute(self, feature):
        call = self.function(feature)
        return [call(*row) for row in self.rows]

    @staticmethod
    def function(f):
        n, k = f.n, f.unbiased
        return {
            "sma": lambda h, l, c, v: talib.SMA(c, n)[-1],
            "ema": lambda h, l, c, v: talib.EMA(c, n)[-1],
            "rsi": lambda h, l, c, v: talib.RSI(c, n)[-1],
            "stddev": lambda h, l, c, v: talib.STDDEV(c, n)[-1],
            "var": lambda h, l, c, v: talib.VAR(c, n)[-1],
            "min": lambda h, l, c, v: talib.MIN(c, n)[-1],
            "max": lambda h, l, c, v: talib.MAX(c, n)[-1],
            "wma": lambda h, l, c, v: talib.WMA(c, n)[-1],
            "roc": lambda h, l, c, v: talib.ROC(c, n)[-1],
            "mom": lambda h, l, c, v: talib.MOM(c, n)[-1],
            "cci": lambda h, l, c, v: talib.CCI(h, l, c, n)[-1],
            "willr": lambda h, l, c, v: talib.WILLR(h, l, c, n)[-1],
            "atr": lambda h, l, c, v: talib.ATR(h, l, c, n)[-1],
            "natr": lambda h, l, c, v: talib.NATR(h, l, c, n)[-1],
            "adx": lambda h, l, c, v: talib.ADX(h, l, c, n)[-1],
            "macd": lambda h, l, c, v: talib.MACD(c, f.fast, f.slow, f.signal)[0][-1],
            "bbands_upper": lambda h, l, c, v: talib.BBANDS(c, n, f.deviations, f.deviations)[0][-1],
            "mfi": lambda h, l, c, v: talib.MFI(h, l, c, v, n)[-1],
            "obv": lambda h, l, c, v: talib.OBV(c, v)[-1],
            "linearreg_slope": lambda h, l, c, v: talib.LINEARREG_SLOPE(c, n)[-1],
            "correl": lambda h, l, c, v: talib.CORREL(h, l, n)[-1],
            "mean_ret": lambda h, l, c, v: talib.SMA(talib.ROCP(c, 1), n)[-1],
            "std_ret": lambda h, l, c, v: talib.STDDEV(talib.ROCP(c, 1), n)[-1] * k,
            "zscore": lambda h, l, c, v: (c[-1] - talib.SMA(c, n)[-1]) / (talib.STDDEV(c, n)[-1] * k),
        }[f.kind]


class TalibStream:
    """Handles that keep their own state and take the newest bar."""

    name = "talib_stream"
    version = Talib.version
    cannot = Talib.cannot
    # The handle's class, what of the bar it takes, and its parameters.
    HANDLES = {
        "sma": (stream.SMA, "c", lambda f: (f.n,)),
        "ema": (stream.EMA, "c", lambda f: (f.n,)),
        "rsi": (stream.RSI, "c", lambda f: (f.n,)),
        "stddev": (stream.STDDEV, "c", lambda f: (f.n,)),
        "var": (stream.VAR, "c", lambda f: (f.n,)),
        "min": (stream.MIN, "c", lambda f: (f.n,)),
        "max": (stream.MAX, "c", lambda f: (f.n,)),
        "wma": (stream.WMA, "c", lambda f: (f.n,)),
        "roc": (stream.ROC, "c", lambda f: (f.n,)),
        "mom": (stream.MOM, "c", lambda f: (f.n,)),
        "cci": (stream.CCI, "hlc", lambda f: (f.n,)),
        "willr": (stream.WILLR, "hlc", lambda f: (f.n,)),
        "atr": (stream.ATR, "hlc", lambda f: (f.n,)),
        "natr": (stream.NATR, "hlc", lambda f: (f.n,)),
        "adx": (stream.ADX, "hlc", lambda f: (f.n,)),
        "macd": (stream.MACD, "c", lambda f: (f.fast, f.slow, f.signal)),
        "bbands_upper": (stream.BBANDS, "c", lambda f: (f.n, f.deviations, f.deviations)),
        "mfi": (stream.MFI, "hlcv", lambda f: (f.n,)),
        "obv": (stream.OBV, "cv", lambda f: ()),
        "linearreg_slope": (stream.LINEARREG_SLOPE, "c", lambda f: (f.n,)),
        "correl": (stream.CORREL, "hl", lambda f: (f.n,)),
        "mean_ret": (stream.SMA, "r", lambda f: (f.n,)),
        "std_ret": (stream.STDDEV, "r", lambda f: (f.n,)),
        "zscore": (stream.SMA, "c", lambda f: (f.n,)),
    }

    def begin(self, features, bars, begin, end):
        """Opens every handle on the history before the first round."""
        names = dict(zip("hlcv", bars.window(begin, end)))
        close = names["c"]
        names["r"] = np.ascontiguousarray(close[:, 1:] / close[:, :-1] - 1)
        self.updates = {}
        for f in features:
            handle, inputs, parameters = self.HANDLES[f.kind]
            arrays = list(zip(*(names[name] for name in inputs)))
            self.updates[f.id] = [handle(*rows, *parameters(f)).update for rows in arrays]
            if f.kind == "zscore":
                self.updates[f.id, "stddev"] = [stream.STDDEV(*rows, f.n).update for rows in arrays]
        self.before = close[:, -1].tolist()

    def prepare(self, bars, begin, end):
        h, l, c, v = (array[:, 0].tolist() for array in bars.window(end - 1, end))
        self.bar = {"h": h, "l": l, "c": c, "v": v, "before": self.before}
        self.before = c

    def refresh(self, features):
        return one_by_one(features, self.compute)

    def compute(self, f):
        updates, bar = self.updates[f.id], self.bar
        inputs = self.HANDLES[f.kind][1]
        if f.kind in ("macd", "bbands_upper"):
            return [update(c)[0] for update, c in zip(updates, bar["c"])]
        if f.kind == "mean_ret":
            return [update(c / b - 1) for update, c, b in zip(updates, bar["c"], bar["before"])]
        if f.kind == "std_ret":
            k = f.unbiased
            return [update(c / b - 1) * k for update, c, b in zip(updates, bar["c"], bar["before"])]
        if f.kind == "zscore":
            k, others = f.unbiased, self.updates[f.id, "stddev"]
            return [ratio(c - mean(c), stddev(c) * k) for mean, stddev, c in zip(updates, others, bar["c"])]
        # The interpreter is fastest where the number of arguments is written out.
        if len(inputs) == 1:
            return [update(a) for update, a in zip(updates, bar[inputs])]
        if len(inputs) == 2:
            return [update(a, b) for update, a, b in zip(updates, *(bar[name] for name in inputs))]
        if len(inputs) == 3:
            return [update(a, b, c) for update, a, b, c in zip(updates, *(bar[name] for name in inputs))]
        return [update(a, b, c, d) for update, a, b, c, d in zip(updates, *(bar[name] for name in inputs))]


def ratio(a, b):
    return a / b if b else float("nan")


def table_feature(t, f):
    """A feature in the words of a library of tables: `t` says how the library spells a window's reduction."""
    n, c = f.n, t.close
    alpha = 2 / (n + 1)
    wilder = 1 / n if n else None
    if f.kind in ("sma", "ema", "stddev", "var", "min", "max", "median", "wma", "linearreg_slope"):
        return {
            "sma": lambda: t.mean(c, n),
            "ema": lambda: t.last(t.smooth(c, alpha)),
            "stddev": lambda: t.std(c, n, 0),
            "var": lambda: t.var(c, n, 0),
            "min": lambda: t.min(c, n),
            "max": lambda: t.max(c, n),
            "median": lambda: t.median(c, n),
            "wma": lambda: t.weighted(c, np.arange(1, n + 1) * 2 / (n * (n + 1))),
            "linearreg_slope": lambda: t.weighted(c, (np.arange(n) - (n - 1) / 2) * 12 / (n * (n * n - 1))),
        }[f.kind]()
    if f.kind in ("mean_ret", "std_ret", "skew_ret", "kurt_ret"):
        ret = t.ret()
        return {
            "mean_ret": lambda: t.mean(ret, n),
            "std_ret": lambda: t.std(ret, n, 1),
            "skew_ret": lambda: t.skew(ret, n),
            "kurt_ret": lambda: t.kurt(ret, n),
        }[f.kind]()
    if f.kind == "roc":
        return (t.last(c) / t.last(c, n) - 1) * 100
    if f.kind == "mom":
        return t.last(c) - t.last(c, n)
    if f.kind == "zscore":
        return (t.last(c) - t.mean(c, n)) / t.std(c, n, 1)
    if f.kind == "bbands_upper":
        return t.mean(c, n) + f.deviations * t.std(c, n, 0)
    if f.kind == "macd":
        return t.last(t.smooth(c, 2 / (f.fast + 1))) - t.last(t.smooth(c, 2 / (f.slow + 1)))
    if f.kind == "rsi":
        change = c.diff()
        up, down = t.smooth(t.positive(change), wilder), t.smooth(t.positive(-change), wilder)
        return t.last(up) / (t.last(up) + t.last(down)) * 100
    if f.kind == "cci":
        typical = t.typical()
        return (t.last(typical) - t.mean(typical, n)) / (0.015 * t.mad(typical, n))
    if f.kind == "willr":
        top = t.max(t.high, n)
        return (top - t.last(c)) / (top - t.min(t.low, n)) * -100
    if f.kind in ("atr", "natr"):
        atr = t.last(t.smooth(t.true_range(), wilder))
        return atr if f.kind == "atr" else atr / t.last(c) * 100
    if f.kind == "adx":
        up, down = t.high.diff(), -t.low.diff()
        plus, minus = t.where((up > down) & (up > 0), up), t.where((down > up) & (down > 0), down)
        # The true range cancels out of the ratio of the two directions.
        plus, minus = t.smooth(plus, wilder), t.smooth(minus, wilder)
        return t.last(t.smooth(t.present((plus - minus).abs() / (plus + minus) * 100), wilder))
    if f.kind == "mfi":
        typical = t.typical()
        change, flow = typical.diff(), typical * t.volume
        up, down = t.sum(t.where(change > 0, flow), n), t.sum(t.where(change < 0, flow), n)
        return up / (up + down) * 100
    if f.kind == "obv":
        return t.first(t.volume) + t.total(t.sign(c.diff()) * t.volume)
    if f.kind == "correl":
        return t.corr(t.high, t.low, n)
    raise AssertionError(f.kind)


class Pandas:
    name = "pandas"
    version = f"pandas {pd.__version__}"
    cannot = dict.fromkeys(("wma", "linearreg_slope", "cci"), "no rolling function but apply")

    def begin(self, features, bars, begin, end):
        pass

    def prepare(self, bars, begin, end):
        self.high, self.low, self.close, self.volume = (
            pd.DataFrame(array.T) for array in bars.window(begin, end)
        )

    def refresh(self, features):
        self.memo = {}
        return one_by_one(features, lambda feature: table_feature(self, feature).to_numpy())

    def once(self, name, compute):
        """What several features need is computed by the first."""
        if name not in self.memo:
            self.memo[name] = compute()
        return self.memo[name]

    def ret(self):
        return self.once("ret", lambda: self.close / self.close.shift() - 1)

    def typical(self):
        return self.once("typical", lambda: (self.high + self.low + self.close) / 3)

    def true_range(self):
        def compute():
            before = self.close.shift()
            return np.maximum(self.high, before) - np.minimum(self.low, before)

        return self.once("true_range", compute)

    @staticmethod
    def smooth(x, alpha):
        return x.ewm(alpha=alpha, adjust=False).mean()

    @staticmethod
    def present(x):
        # To pandas NaN is a missing value already.
        return x

    @staticmethod
    def positive(x):
        return x.clip(lower=0)

    @staticmethod
    def where(condition, x):
        return x.where(condition, 0.0)

    @staticmethod
    def sign(x):
        return np.sign(x)

    @staticmethod
    def total(x):
        return x.sum()

    @staticmethod
    def first(x):
        return x.iloc[0]

    @staticmethod
    def last(x, back=0):
        return x.iloc[-1 - back]

    def mean(self, x, n):
        return x.rolling(n).mean().iloc[-1]

    def std(self, x, n, ddof):
        return x.rolling(n).std(ddof=ddof).iloc[-1]

    def var(self, x, n, ddof):
        return x.rolling(n).var(ddof=ddof).iloc[-1]

    def min(self, x, n):
        return x.rolling(n).min().iloc[-1]

    def max(self, x, n):
        return x.rolling(n).max().iloc[-1]

    def sum(self, x, n):
        return x.rolling(n).sum().iloc[-1]

    def median(self, x, n):
        return x.rolling(n).median().iloc[-1]

    def skew(self, x, n):
        return x.rolling(n).skew().iloc[-1]

    def kurt(self, x, n):
        return x.rolling(n).kurt().iloc[-1]

    def corr(self, x, y, n):
        return x.rolling(n).corr(y).iloc[-1]


class PandasTail(Pandas):
    name = "pandas_tail"
    cannot = {}

    def mean(self, x, n):
        return x.iloc[-n:].mean()

    def std(self, x, n, ddof):
        return x.iloc[-n:].std(ddof=ddof)

    def var(self, x, n, ddof):
        return x.iloc[-n:].var(ddof=ddof)

    def min(self, x, n):
        return x.iloc[-n:].min()

    def max(self, x, n):
        return x.iloc[-n:].max()

    def sum(self, x, n):
        return x.iloc[-n:].sum()

    def median(self, x, n):
        return x.iloc[-n:].median()

    def skew(self, x, n):
        return x.iloc[-n:].skew()

    def kurt(self, x, n):
        return x.iloc[-n:].kurt()

    def corr(self, x, y, n):
        return x.iloc[-n:].corrwith(y.iloc[-n:])

    def weighted(self, x, weights):
        return x.iloc[-len(weights) :].mul(weights, axis=0).sum()

    def mad(self, x, n):
        return (x.iloc[-n:] - x.iloc[-n:].mean()).abs().mean()


class Polars:
    name = "polars"
    version = f"polars {pl.__version__}"
    cannot = {"cci": "no rolling mean absolute deviation"}
    high, low, close, volume = (pl.col(name) for name in ("high", "low", "close", "volume"))

    def begin(self, features, bars, begin, end):
        pass

    def prepare(self, bars, begin, end):
        arrays = dict(zip(("high", "low", "close", "volume"), (array.ravel() for array in bars.window(begin, end))))
        symbol = np.repeat(np.arange(bars.instruments, dtype=np.uint32), end - begin)
        self.frame = pl.DataFrame({"symbol": symbol, **arrays})

    def refresh(self, features):
        columns = [table_feature(self, feature).alias(feature.id) for feature in features]
        out = self.frame.lazy().group_by("symbol", maintain_order=True).agg(columns).collect()
        return {feature.id: out[feature.id].to_numpy() for feature in features}, None

    def ret(self):
        return self.close / self.close.shift() - 1

    def typical(self):
        return (self.high + self.low + self.close) / 3

    def true_range(self):
        before = self.close.shift()
        return pl.max_horizontal(self.high, before) - pl.min_horizontal(self.low, before)

    @staticmethod
    def smooth(x, alpha):
        return x.ewm_mean(alpha=alpha, adjust=False)

    @staticmethod
    def present(x):
        return x.fill_nan(None)

    @staticmethod
    def positive(x):
        return x.clip(lower_bound=0)

    @staticmethod
    def where(condition, x):
        return pl.when(condition).then(x).otherwise(0.0)

    @staticmethod
    def sign(x):
        return x.sign()

    @staticmethod
    def total(x):
        return x.sum()

    @staticmethod
    def first(x):
        return x.first()

    @staticmethod
    def last(x, back=0):
        return x.tail(back + 1).first()

    def mean(self, x, n):
        return x.rolling_mean(n).last()

    def std(self, x, n, ddof):
        return x.rolling_std(n, ddof=ddof).last()

    def var(self, x, n, ddof):
        return x.rolling_var(n, ddof=ddof).last()

    def min(self, x, n):
        return x.rolling_min(n).last()

    def max(self, x, n):
        return x.rolling_max(n).last()

    def sum(self, x, n):
        return x.rolling_sum(n).last()

    def median(self, x, n):
        return x.rolling_median(n).last()

    def skew(self, x, n):
        return x.rolling_skew(n, bias=False).last()

    def kurt(self, x, n):
        return x.rolling_kurtosis(n, bias=False).last()

    def corr(self, x, y, n):
        return pl.rolling_corr(x, y, window_size=n).last()

    def weighted(self, x, weights):
        return x.rolling_sum(len(weights), weights=list(weights)).last()


class PolarsTail(Polars):
    name = "polars_tail"
    cannot = {}

    def mean(self, x, n):
        return x.tail(n).mean()

    def std(self, x, n, ddof):
        return x.tail(n).std(ddof=ddof)

    def var(self, x, n, ddof):
        return x.tail(n).var(ddof=ddof)

    def min(self, x, n):
        return x.tail(n).min()

    def max(self, x, n):
        return x.tail(n).max()

    def sum(self, x, n):
        return x.tail(n).sum()

    def median(self, x, n):
        return x.tail(n).median()

    def skew(self, x, n):
        return x.tail(n).skew(bias=False)

    def kurt(self, x, n):
        return x.tail(n).kurtosis(bias=False)

    def corr(self, x, y, n):
        return pl.corr(x.tail(n), y.tail(n))

    def weighted(self, x, weights):
        return (x.tail(len(weights)) * pl.lit(pl.Series(weights))).sum()

    def mad(self, x, n):
        return (x.tail(n) - x.tail(n).mean()).abs().mean()


FORMS = {form.name: form for form in (Talib, TalibStream, Pandas, PandasTail, Polars, PolarsTail)}


def able(form, features):
    """The features that a form computes, and those it does not with the reason."""
    done = [feature for feature in features if feature.kind not in form.cannot]
    skipped = {feature.id: form.cannot[feature.kind] for feature in features if feature.kind in form.cannot}
    return done, skipped


def race(forms, bars, features, rounds, window):
    """Seconds of every round by form, seconds by feature, and the values of the last round."""
    seconds, by_feature, values = ({form.name: [] for form in forms} for _ in range(3))
    done = {form.name: able(form, features)[0] for form in forms}
    first = bars.bars - rounds
    for form in forms:
        form.begin(done[form.name], bars, max(0, bars.bars - window), first - 1)
    for turn in range(-1, rounds):
        end = first + turn + 1
        for place in range(len(forms)):
            form = forms[(place + turn) % len(forms)]
            form.prepare(bars, max(0, end - window), end)
            gc.collect()
            begin = time.perf_counter()
            out, each = form.refresh(done[form.name])
            elapsed = time.perf_counter() - begin
            values[form.name] = {id: np.asarray(column, dtype=float) for id, column in out.items()}
            if turn >= 0:
                seconds[form.name].append(elapsed)
                by_feature[form.name].append(each)
    return seconds, by_feature, values


def summary(form, features, seconds, by_feature, values):
    done, skipped = able(form, features)
    count = sum(len(column) for column in values.values())
    median = statistics.median(seconds)
    ids = [feature.id for feature in done]
    each = {id: statistics.median(times[id] for times in by_feature) for id in ids} if by_feature[0] else None
    return {
        "library": form.version,
        "features": ids,
        "skipped": skipped,
        "values": count,
        "not_finite": int(sum((~np.isfinite(column)).sum() for column in values.values())),
        "seconds": {"median": median, "min": min(seconds), "max": max(seconds), "rounds": seconds},
        "values_per_second": count / median,
        "seconds_by_feature": each,
    }


def agreement(features, values):
    """Per feature, how far every form is from the first that has it, as a share of the greatest value."""
    out = {}
    for feature in features:
        having = [(name, columns[feature.id]) for name, columns in values.items() if feature.id in columns]
        out[feature.id] = {}
        for name, column in having[1:]:
            reference = having[0][1]
            both = np.isfinite(column) & np.isfinite(reference)
            if (np.isfinite(column) != np.isfinite(reference)).any():
                out[feature.id][name] = "differ in what is finite"
            elif both.any():
                scale = np.abs(reference[both]).max() or 1.0
                out[feature.id][name] = float(np.abs(column[both] - reference[both]).max() / scale)
    return out


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bars", help="bars.bin")
    parser.add_argument("features", help="features.json")
    parser.add_argument("--values", help="where to write the values of the last round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--window", type=int, default=300, help="bars that a refresh looks at")
    parser.add_argument("--forms", default=",".join(FORMS), help="which of " + ", ".join(FORMS))
    return parser.parse_args()


def main():
    options = arguments()
    bars = Bars(options.bars)
    with open(options.features) as file:
        features = [Feature(spec) for spec in json.load(file)]
    if len({feature.id for feature in features}) < len(features):
        sys.exit(f"{options.features}: an id stands twice")
    unknown = set(options.forms.split(",")) - set(FORMS)
    if unknown:
        sys.exit(f"no form {', '.join(sorted(unknown))}")
    forms = [FORMS[name]() for name in options.forms.split(",")]
    needed = max([feature.lookback() for feature in features]) + options.rounds + 2
    if min(options.window, bars.bars) < needed:
        sys.exit(f"{options.rounds} rounds of these features need {needed} bars and a window as long")
    gc.disable()
    with np.errstate(all="ignore"):
        seconds, by_feature, values = race(forms, bars, features, options.rounds, options.window)
    report = {
        "instruments": bars.instruments,
        "bars": bars.bars,
        "window": options.window,
        "rounds": options.rounds,
        "python": platform.python_version(),
        "forms": {
            form.name: summary(form, features, seconds[form.name], by_feature[form.name], values[form.name])
            for form in forms
        },
        "agreement": agreement(features, values),
    }
    json.dump(report, sys.stdout, indent=1)
    print()
    if options.values:
        finite = {
            name: {id: [x if np.isfinite(x) else None for x in column.tolist()] for id, column in columns.items()}
            for name, columns in values.items()
        }
        with open(options.values, "w") as file:
            json.dump({"bar": bars.bars - 1, "values": finite}, file)


if __name__ == "__main__":
    main()
