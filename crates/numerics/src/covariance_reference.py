"""Writes covariance_reference.csv, the values that covariance.rs and matrix.rs are tested against (numpy, real prices).

Run: pip install numpy; python3 covariance_reference.py sp500_dataset.csv.gz > covariance_reference.csv
The prices are those of skfolio 1.12.2, 20 US shares from 1990 to 2022. Returns are simple, day over day; "year" is the
last 252 of them. Every covariance is also compared with the sum in exact fractions, rounded once.
"""
import csv
import gzip
import sys
from fractions import Fraction

import numpy as np

with gzip.open(sys.argv[1], "rt") as file:
    rows = list(csv.reader(file))
prices = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])
returns = prices[1:] / prices[:-1] - 1.0
year = returns[-252:]
assets = returns.shape[1]


def exact(x, ddof):
    """The first column of the covariance."""
    columns = [[Fraction(float(value)) for value in column] for column in x.T]
    centred = [[value - sum(column) / len(column) for value in column] for column in columns]
    first = centred[0]
    return [float(sum(a * b for a, b in zip(first, other)) / (len(x) - ddof)) for other in centred]


def write(name, matrix):
    for i, row in enumerate(np.atleast_2d(matrix)):
        for j, value in enumerate(row[: i + 1] if matrix.shape[0] == matrix.shape[-1] else row):
            print(f"{name},{i},{j},{float(value)!r}")


print("name,row,column,value")
full = np.cov(returns, rowvar=False)
recent = np.cov(year, rowvar=False)
maximum_likelihood = np.cov(year, rowvar=False, ddof=0)
for matrix, data, ddof in [(recent, year, 1), (maximum_likelihood, year, 0)]:
    assert np.allclose(matrix[0], exact(data, ddof), rtol=1e-13, atol=0.0)
decay = 0.94
weights = decay ** np.arange(len(returns) - 1, -1, -1)
write("full", full)
write("year", recent)
write("year_ddof0", maximum_likelihood)
write("ewma", np.cov(returns, rowvar=False, aweights=weights, ddof=0))
write("correlation", np.corrcoef(returns, rowvar=False))
write("cholesky", np.linalg.cholesky(recent))
equal = np.full(assets, 1.0 / assets)
write("variance", np.array([[equal @ recent @ equal]]))
# Proportional to the weights of the portfolio of least variance.
write("least_variance", np.linalg.solve(recent, np.ones(assets))[:, None])
