"""Writes stress_reference.json, the answers that stress.rs is tested against (numpy, scipy).

Run: pip install numpy scipy; python3 stress_reference.py > stress_reference.json
Correlation stress: numpy's covariance, Higham's alternating projections (2002), scipy's quantile. Reverse stress: the
least x'S^-1 x with P&L(x) = -L by scipy.optimize (SLSQP) from many starts, European options by the closed form.
"""
import json

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

draw = np.random.default_rng(11)


def nearest(a):
    y, correction = a.copy(), np.zeros_like(a)
    for _ in range(100_000):
        r = y - correction
        values, vectors = np.linalg.eigh(r)
        x = (vectors * np.maximum(values, 0.0)) @ vectors.T
        correction = x - r
        following = x.copy()
        np.fill_diagonal(following, 1.0)
        if np.linalg.norm(following - y) < 1e-13:
            return following
        y = following
    raise SystemExit("it did not settle")


def numbers(x):
    return json.loads(json.dumps(np.asarray(x).tolist()))


def correlation(n, toward, by, block, confidence, horizon):
    names = [f"A{i}" for i in range(n)]
    factors = draw.normal(size=(60, 2))
    returns = 0.01 * (factors @ draw.normal(size=(2, n)) + 0.6 * draw.normal(size=(60, n)))
    w = np.round(draw.normal(size=n) * 1000.0, 2)
    request = {"positions": [{"instrument": name, "quantity": q, "price": 2.0} for name, q in zip(names, w.tolist())],
               "instruments": names, "returns": numbers(returns),
               "correlation": {"toward": toward, "by": by, "confidence": confidence, "horizon": horizon}}
    inside = range(n)
    if block is not None:
        request["correlation"]["block"] = [names[i] for i in block]
        inside = block
    covariance = np.cov(returns, rowvar=False)
    sigma = np.sqrt(np.diag(covariance))
    rho = covariance / np.outer(sigma, sigma)
    moved = rho.copy()
    for i in inside:
        for j in inside:
            if i != j:
                moved[i, j] += by * (toward - moved[i, j])
    smallest = np.linalg.eigvalsh(moved)[0]
    repaired = nearest(moved) if smallest < 0.0 else moved
    w = 2.0 * w
    deviation = lambda r: float(np.sqrt(w @ (r * np.outer(sigma, sigma)) @ w * horizon))
    z = norm.ppf(confidence)
    answer = {"var_before": z * deviation(rho), "var_after": z * deviation(repaired), "deviation_after": deviation(repaired),
              "smallest_eigenvalue_stressed": float(smallest),
              "repair_distance_stressed": float(np.linalg.norm(repaired - moved))}
    return {"request": request, "answer": answer}


def option(p, spot):
    s, k, t, v, r = spot, p["strike"], p["expiry_years"], p["volatility"], p["rate"]
    d1 = (np.log(s / k) + (r + v * v / 2) * t) / (v * np.sqrt(t))
    w = 1 if p["kind"] == "call" else -1
    return w * (s * norm.cdf(w * d1) - k * np.exp(-r * t) * norm.cdf(w * (d1 - v * np.sqrt(t))))


def reverse(positions, names, covariance, loss):
    def pnl(x):
        total = 0.0
        for p in positions:
            if "underlying" in p:
                up = max(1.0 + x[names.index(p["underlying"])], 1e-12)
                total += p["quantity"] * (option(p, p["spot"] * up) - option(p, p["spot"]))
            else:
                total += p["quantity"] * p["price"] * x[names.index(p["instrument"])]
        return total

    factor = np.linalg.cholesky(covariance)
    best = np.inf
    for _ in range(60):
        start = draw.normal(size=len(names))
        start *= 3.0 / np.linalg.norm(start)
        found = minimize(lambda u: u @ u, start, jac=lambda u: 2.0 * u, method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
                         constraints={"type": "eq", "fun": lambda u: (pnl(factor @ u) + loss) / loss})
        if found.success and abs(pnl(factor @ found.x) + loss) < 1e-7 * loss:
            best = min(best, float(np.sqrt(found.fun)))
    assert np.isfinite(best)
    request = {"positions": positions, "instruments": names, "covariance": numbers(covariance), "loss": loss}
    return {"request": request, "distance": best}


sigma = np.array([0.02, 0.015, 0.03])
covariance = np.outer(sigma, sigma) * np.array([[1.0, 0.6, 0.3], [0.6, 1.0, -0.2], [0.3, -0.2, 1.0]])
names = ["A", "B", "C"]
share = lambda name, quantity, price: {"instrument": name, "quantity": quantity, "price": price}
contract = lambda name, kind, strike, spot, quantity: {
    "underlying": name, "kind": kind, "strike": strike, "expiry_years": 0.25, "volatility": 0.3, "rate": 0.02, "spot": spot,
    "quantity": quantity}
linear = [share("A", 100.0, 50.0), share("B", -20.0, 80.0), share("C", 10.0, 30.0)]
print(json.dumps({
    "correlation": [
        correlation(6, 1.0, 0.5, None, 0.99, 1.0),
        correlation(6, 1.0, 0.95, [0, 2, 3], 0.99, 10.0),
        correlation(8, -1.0, 0.9, [0, 1, 2, 5], 0.975, 1.0),
        correlation(5, 0.0, 1.0, None, 0.95, 1.0),
    ],
    "reverse": [
        reverse(linear, names, covariance, 400.0),
        reverse(linear + [contract("A", "put", 48.0, 50.0, 60.0)], names, covariance, 300.0),
        # Short straddles: a loss either way, and no slope to begin with.
        reverse([contract("A", "call", 50.0, 50.0, -100.0), contract("A", "put", 50.0, 50.0, -100.0)], names, covariance, 250.0),
        reverse(linear + [contract("C", "call", 33.0, 30.0, -400.0), contract("B", "put", 75.0, 80.0, -50.0)], names, covariance, 900.0),
        reverse([contract("A", "put", 45.0, 50.0, -200.0), share("B", 30.0, 80.0)], names, covariance, 800.0),
    ],
}, indent=None))
