"""Writes components_reference.csv, the values that components.rs is tested against (numpy.linalg.eigh, made-up returns).

Run: pip install numpy; python3 components_reference.py > components_reference.csv
The returns are made by the same arithmetic in components_tests.rs. Every case is also compared with the singular values
of the returns, which come about without a covariance.
"""
import numpy as np

ROUNDING = 1e-9


class Numbers:
    """Knuth's MMIX generator; a sum of twelve for something like a normal distribution."""

    def __init__(self, seed):
        self.state = seed

    def uniform(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) / 2.0**53

    def normal(self):
        total = -6.0
        for _ in range(12):
            total += self.uniform()
        return total


def market(days, assets, own, seed):
    """A market, three sectors and what is each asset's own."""
    numbers = Numbers(seed)
    rows = []
    for _ in range(days):
        common = 0.0004 + 0.01 * numbers.normal()
        sectors = [scale * numbers.normal() for scale in (0.009, 0.007, 0.005)]
        beta = [0.5 + (j * 7 % 11) / 10.0 for j in range(assets)]
        rows.append([beta[j] * common + sectors[j % 3] + own * numbers.normal() for j in range(assets)])
    return rows


def nearly_equal(days, assets):
    """Walsh functions of nearly equal size, turned by one reflection: the variances are 1e-3 of each other apart."""
    rows = []
    for t in range(days):
        row = [0.02 * (1.0 - 0.0005 * j) * (-1.0) ** bin(t & (j + 1)).count("1") for j in range(assets)]
        axis = [1.0 + j for j in range(assets)]
        along = 0.0
        for a, x in zip(axis, row):
            along += a * x
        square = sum(a * a for a in axis)
        rows.append([x - 2.0 * along / square * a for a, x in zip(axis, row)])
    return rows


def constant(rows, column, value):
    return [[value if j == column else x for j, x in enumerate(row)] for row in rows]


CASES = [
    # More assets than days; of the 680 every 17th is written.
    ("wide", market(60, 680, 0.015, 1), 4, 17),
    ("tall", market(252, 20, 0.015, 2), 6, 1),
    ("square", market(40, 40, 0.015, 3), 5, 1),
    ("nearly_equal", nearly_equal(64, 12), 5, 1),
    ("deficient", market(30, 12, 0.0, 4), 7, 1),
    ("wide_deficient", market(30, 48, 0.0, 5), 7, 1),
    ("constant", constant(market(60, 9, 0.015, 6), 4, 0.0125), 9, 1),
    ("wide_constant", constant(market(12, 30, 0.015, 7), 4, 0.0125), 3, 1),
]


def turned(vector):
    total, size = vector.sum(), np.abs(vector).sum()
    # Where the two rules of the sign differ, a reference would be of chance.
    assert abs(total) > 1e3 * ROUNDING * size, total / size
    return -vector if total < 0 else vector


print("case,component,asset,value")
for name, rows, k, every in CASES:
    x = np.array(rows)
    covariance = np.cov(x, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors.T[::-1]
    kept = [i for i in range(min(k, len(values))) if values[i] > 1e-12 * values[0]]
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2 / (len(x) - 1)
    assert np.allclose(values[kept], singular[kept], rtol=0.0, atol=1e-14 * values[0])
    # A vector is known as well as its value is apart from the next one.
    gaps = [values[i] - values[i + 1] for i in kept if i + 1 < len(values)]
    assert min(gaps) > 1e-4 * values[0], (name, gaps)
    # Neither kept nor left out by chance.
    rest = values[len(kept)] if len(kept) < len(values) else 0.0
    assert len(kept) == k or abs(rest) < 1e-15 * values[0], (name, rest)
    print(f"{name},total,,{float(np.trace(covariance))!r}")
    for i in kept:
        print(f"{name},{i},,{float(values[i])!r}")
        for j, value in list(enumerate(turned(vectors[i])))[::every]:
            print(f"{name},{i},{j},{float(value)!r}")
