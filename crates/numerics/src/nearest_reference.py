"""Writes nearest_reference.csv, the values that nearest.rs is tested against (numpy).

Run: pip install numpy; python3 nearest_reference.py > nearest_reference.csv
Higham's alternating projections with Dykstra's correction (2002, algorithm 3.3) until a step is below 1e-13: slow, simple,
and another method than the one that is tested.
"""
import numpy as np


def nearest(a):
    y, correction = a.copy(), np.zeros_like(a)
    for _ in range(200_000):
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


def write(name, matrix):
    for i in range(len(matrix)):
        for j in range(i + 1):
            print(f"{name},{i},{j},{float(matrix[i, j])!r}")


print("case,row,column,value")
draw = np.random.default_rng(4)
# A block of five among twelve is moved nearly to 1, and the rest stays as it was.
factors = draw.normal(size=(12, 3))
correlation = np.corrcoef(factors @ draw.normal(size=(3, 400)) + 0.5 * draw.normal(size=(12, 400)))
block = correlation.copy()
block[:5, :5] += 0.95 * (1.0 - block[:5, :5])
noise = np.tril(draw.uniform(-1.0, 1.0, size=(8, 8)), -1)
for name, matrix in [("block", block), ("noise", noise + noise.T + np.eye(8))]:
    assert np.linalg.eigvalsh(matrix)[0] < -1e-3
    write(f"{name}_in", matrix)
    write(f"{name}_out", nearest(matrix))
