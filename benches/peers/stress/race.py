"""Races QuantLib at the full revaluation of an option in many scenarios of spot and volatility, one thread.

Run by `cargo bench -p nautilus-benches --bench stress`, which names a file as the only argument. The scenarios are drawn
(seed 9) and written there as f64, little-endian: relative moves of the spot, then of the volatility; and "ready" is
printed. Then each line on standard input is a round: every form runs once, and a line of JSON gives each one's seconds of
processor time. At the end of input a line gives the values of each form.

  european      10,000 values by AnalyticEuropeanEngine: quotes are set, NPV() is asked
  american      1,000 values by QdFpAmericanEngine, its accurate scheme: spot and volatility move
  american_spot 10,000 values by it: the spot moves, the volatility stays
The loop is Python's, as in most uses of QuantLib; the engine is C++. The garbage collector is off.
"""

import gc
import json
import sys
import time

import numpy as np
import QuantLib as ql

SCENARIOS, AMERICAN = 10_000, 1_000
generator = np.random.default_rng(9)
spots = np.clip(generator.standard_t(5, SCENARIOS) * 0.03, -0.6, 0.6)
volatilities = np.clip(generator.normal(0.0, 0.2, SCENARIOS), -0.6, 1.5)

TODAY = ql.Date(2, 1, 2026)
ql.Settings.instance().evaluationDate = TODAY
DAY_COUNT = ql.Actual365Fixed()
SPOT, STRIKE, RATE, DIVIDENDS, VOLATILITY, DAYS = 100.0, 105.0, 0.04, 0.015, 0.25, 182


def option(american):
    spot, volatility = ql.SimpleQuote(SPOT), ql.SimpleQuote(VOLATILITY)
    flat = lambda rate: ql.YieldTermStructureHandle(ql.FlatForward(TODAY, rate, DAY_COUNT))
    surface = ql.BlackConstantVol(TODAY, ql.NullCalendar(), ql.QuoteHandle(volatility), DAY_COUNT)
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(spot), flat(DIVIDENDS), flat(RATE), ql.BlackVolTermStructureHandle(surface))
    end = TODAY + DAYS
    exercise = ql.AmericanExercise(TODAY, end) if american else ql.EuropeanExercise(end)
    priced = ql.VanillaOption(ql.PlainVanillaPayoff(ql.Option.Put, STRIKE), exercise)
    engine = ql.QdFpAmericanEngine if american else ql.AnalyticEuropeanEngine
    priced.setPricingEngine(engine(process))
    return priced, spot, volatility


def loop(american, moves):
    priced, spot, volatility = option(american)

    def run():
        values = []
        for by_spot, by_volatility in moves:
            spot.setValue(SPOT * (1.0 + by_spot))
            volatility.setValue(VOLATILITY * (1.0 + by_volatility))
            values.append(priced.NPV())
        return values

    return run


both = list(zip(spots.tolist(), volatilities.tolist()))
FORMS = {
    "european": loop(False, both),
    "american": loop(True, both[:AMERICAN]),
    "american_spot": loop(True, [(move, 0.0) for move in spots.tolist()]),
}


def main():
    with open(sys.argv[1], "wb") as file:
        spots.astype("<f8").tofile(file)
        volatilities.astype("<f8").tofile(file)
    print("ready", flush=True)
    gc.disable()
    values = {}
    names = list(FORMS)
    for turn, _ in enumerate(sys.stdin):
        seconds = {}
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            gc.collect()
            begin = time.process_time_ns()
            values[name] = FORMS[name]()
            seconds[name] = (time.process_time_ns() - begin) / 1e9
        print(json.dumps(seconds), flush=True)
    print(json.dumps({"values": values, "versions": f"QuantLib {ql.__version__}"}), flush=True)


if __name__ == "__main__":
    main()
