"""Writes options_reference.csv, the values that options.rs is tested against (mpmath and QuantLib).

Run: pip install mpmath QuantLib; python3 options_reference.py > options_reference.csv
European values and greeks are the closed form and its derivatives at 40 digits, each compared with QuantLib's analytic
engine. American values are QuantLib's QdFpAmericanEngine at its highest precision; the largest difference of its two
equations is written to stderr, and cases where they differ by more than 1e-7 are left out. American greeks are central
differences of those values (Richardson: two steps). The approximations are their papers' formulas at 40 digits.
"""
import itertools
import random
import sys

import QuantLib as ql
from mpmath import diff, erfc, exp, log, mp, mpf, sqrt

mp.dps = 40
TODAY = ql.Date(2, 1, 2026)
ql.Settings.instance().evaluationDate = TODAY
DAY_COUNT = ql.Actual365Fixed()


def european(kind, strike, spot, rate, dividend, volatility, years):
    w = 1 if kind == "call" else -1
    phi = lambda x: erfc(-x / sqrt(mpf(2))) / 2
    deviation = volatility * sqrt(years)
    d1 = (log(spot / strike) + (rate - dividend) * years) / deviation + deviation / 2
    return w * (spot * exp(-dividend * years) * phi(w * d1) - strike * exp(-rate * years) * phi(w * (d1 - deviation)))


def greeks(kind, strike, spot, rate, dividend, volatility, days):
    at = [mpf(x) for x in (strike, spot, rate, dividend, volatility)] + [mpf(days) / 365]
    value = lambda *x: european(kind, *x)
    orders = {"value": {}, "delta": {1: 1}, "gamma": {1: 2}, "vega": {4: 1}, "theta": {5: 1}, "rho": {2: 1},
              "dividend_rho": {3: 1}, "vanna": {1: 1, 4: 1}, "volga": {4: 2}}
    found = {}
    for name, order in orders.items():
        n = tuple(order.get(i, 0) for i in range(6))
        found[name] = float(diff(value, tuple(at), n) if order else value(*at))
    found["theta"] = -found["theta"]
    return found


def option(kind, strike, spot, rate, dividend, volatility, days, american):
    flat = lambda x: ql.YieldTermStructureHandle(ql.FlatForward(TODAY, x, DAY_COUNT))
    vol = ql.BlackVolTermStructureHandle(ql.BlackConstantVol(TODAY, ql.NullCalendar(), volatility, DAY_COUNT))
    process = ql.BlackScholesMertonProcess(ql.QuoteHandle(ql.SimpleQuote(spot)), flat(dividend), flat(rate), vol)
    payoff = ql.PlainVanillaPayoff(ql.Option.Call if kind == "call" else ql.Option.Put, strike)
    end = TODAY + days
    exercise = ql.AmericanExercise(TODAY, end) if american else ql.EuropeanExercise(end)
    return ql.VanillaOption(payoff, exercise), process


def quantlib_european(*terms):
    priced, process = option(*terms, False)
    priced.setPricingEngine(ql.AnalyticEuropeanEngine(process))
    return {"value": priced.NPV(), "delta": priced.delta(), "gamma": priced.gamma(), "vega": priced.vega(),
            "theta": priced.theta(), "rho": priced.rho(), "dividend_rho": priced.dividendRho()}


def american(*terms, equation=ql.QdFpAmericanEngine.Auto):
    priced, process = option(*terms, True)
    priced.setPricingEngine(ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.highPrecisionScheme(), equation))
    return priced.NPV()


def american_greeks(*terms):
    kind, *at = terms

    def shifted(**by):
        names = ["strike", "spot", "rate", "dividend", "volatility", "days"]
        return american(kind, *[x + by[name] if name in by else x for name, x in zip(names, at)])

    def first(name, step):
        central = lambda h: (shifted(**{name: h}) - shifted(**{name: -h})) / (2 * h)
        return (4 * central(step / 2) - central(step)) / 3

    _, spot, _, _, volatility, _ = at
    second = lambda name, h: (shifted(**{name: h}) - 2 * shifted() + shifted(**{name: -h})) / (h * h)
    corner = lambda a, b: shifted(spot=a, volatility=b)
    cross = lambda a, b: (corner(a, b) - corner(a, -b) - corner(-a, b) + corner(-a, -b)) / (4 * a * b)
    step, bump = 0.02 * spot, 0.04 * volatility
    return {"delta": first("spot", 0.01 * spot), "gamma": (4 * second("spot", step / 2) - second("spot", step)) / 3,
            "vega": first("volatility", 0.02 * volatility), "rho": first("rate", 1e-3),
            "dividend_rho": first("dividend", 1e-3),
            "vanna": (4 * cross(step / 2, bump / 2) - cross(step, bump)) / 3,
            "volga": (4 * second("volatility", bump / 2) - second("volatility", bump)) / 3}


def whaley(kind, strike, spot, rate, dividend, volatility, days):
    """Barone-Adesi and Whaley (1987), the critical price by bisection."""
    strike, spot, r, q, v, t = [mpf(x) for x in (strike, spot, rate, dividend, volatility)] + [mpf(days) / 365]
    w, m, n = (1 if kind == "call" else -1), 2 * r / v**2, 2 * (r - q) / v**2
    power = (-(n - 1) + w * sqrt((n - 1) ** 2 + 4 * m / (1 - exp(-r * t)))) / 2
    value = lambda s: european(kind, strike, s, r, q, v, t)
    phi = lambda s: erfc(-w * ((log(s / strike) + (r - q) * t) / (v * sqrt(t)) + v * sqrt(t) / 2) / sqrt(mpf(2))) / 2
    premium = lambda s: w * s / power * (1 - exp(-q * t) * phi(s))
    waits, exercises = strike, strike * mpf(100) ** w
    for _ in range(150):
        middle = (waits + exercises) / 2
        waits, exercises = (waits, middle) if w * (middle - strike) > value(middle) + premium(middle) else (middle, exercises)
    if w * (spot - waits) >= 0:
        return float(w * (spot - strike))
    return float(value(spot) + premium(waits) * (spot / waits) ** power)


def stensland(kind, strike, spot, rate, dividend, volatility, days):
    """Bjerksund and Stensland (1993)."""
    x, s, r, q, v, t = [mpf(x) for x in (strike, spot, rate, dividend, volatility)] + [mpf(days) / 365]
    if kind == "put":
        x, s, r, q = s, x, q, r
    b, phi = r - q, lambda x: erfc(-x / sqrt(mpf(2))) / 2
    beta = (mpf(1) / 2 - b / v**2) + sqrt((b / v**2 - mpf(1) / 2) ** 2 + 2 * r / v**2)
    endless, now = beta / (beta - 1) * x, max(x, r / (r - b) * x)
    i = now + (endless - now) * (1 - exp(-(b * t + 2 * v * sqrt(t)) * now / (endless - now)))
    if s >= i:
        return float(s - x)

    def part(g, h):
        growth, kappa = -r + g * b + g * (g - 1) * v**2 / 2, 2 * b / v**2 + 2 * g - 1
        d = -(log(s / h) + (b + (g - mpf(1) / 2) * v**2) * t) / (v * sqrt(t))
        return exp(growth * t) * s**g * (phi(d) - (i / s) ** kappa * phi(d - 2 * log(i / s) / (v * sqrt(t))))

    alpha = (i - x) * i ** (-beta)
    return float(alpha * s**beta - alpha * part(beta, i) + part(1, i) - part(1, x) - x * part(0, i) + x * part(0, x))


print("style,what,kind,strike,spot,rate,dividend_yield,volatility,days,value")
row = lambda style, what, terms, value: print(style, what, *terms, repr(value), sep=",")
draw = random.Random(20)
for _ in range(40):
    terms = (draw.choice(["call", "put"]), 100.0, round(100 * draw.uniform(0.6, 1.5), 2), round(draw.uniform(-0.02, 0.1), 3),
             round(draw.uniform(-0.02, 0.08), 3), round(draw.uniform(0.05, 0.9), 3), draw.choice([1, 7, 30, 182, 365, 1825]))
    found, other = greeks(*terms), quantlib_european(*terms)
    for what, value in other.items():
        assert abs(value - found[what]) < 1e-9 * max(1.0, abs(found[what])), (terms, what, value, found[what])
    for what, value in found.items():
        row("european", what, terms, value)

worst = 0.0
pairs = [(0.05, 0.0), (0.05, 0.02), (0.05, 0.05), (0.02, 0.06), (0.1, 0.001), (0.0, 0.04), (0.03, -0.01), (0.001, 0.08)]
for kind, (rate, dividend), volatility, days in itertools.product(
        ["call", "put"], pairs, [0.08, 0.25, 0.7], [7, 91, 365, 3650]):
    for spot in (80.0, 95.0, 100.0, 107.0, 130.0):
        terms = (kind, 100.0, spot, rate, dividend, volatility, days)
        if draw.random() > 0.45:
            continue
        a, b = (american(*terms, equation=e) for e in (ql.QdFpAmericanEngine.FP_A, ql.QdFpAmericanEngine.FP_B))
        value = american(*terms)
        if abs(a - b) > 1e-7:
            print("left out, the two equations differ:", terms, a, b, file=sys.stderr)
            continue
        worst = max(worst, abs(a - b))
        row("american", "value", terms, value)
print("largest difference of QuantLib's two equations:", worst, file=sys.stderr)
for terms in [("put", 100.0, 100.0, 0.05, 0.02, 0.25, 365), ("call", 100.0, 105.0, 0.03, 0.07, 0.3, 730),
              ("put", 100.0, 120.0, 0.04, 0.0, 0.4, 182), ("call", 100.0, 90.0, 0.05, 0.05, 0.2, 91),
              ("put", 100.0, 90.0, 0.06, 0.01, 0.35, 1095)]:
    for what, value in american_greeks(*terms).items():
        row("american", what, terms, value)
for style, formula in [("whaley", whaley), ("stensland", stensland)]:
    for kind, (rate, dividend), volatility in itertools.product(
            ["call", "put"], [(0.05, 0.05), (0.03, 0.07), (0.08, 0.02)], [0.0021, 0.15, 0.6]):
        # Only where the gain of exercising early is what the formula was made for.
        if (kind == "call") == (rate < dividend) or rate == dividend:
            terms = (kind, 100.0, draw.choice([95.0, 100.0, 104.0]), rate, dividend, volatility, 365)
            row(style, "value", terms, formula(*terms))
