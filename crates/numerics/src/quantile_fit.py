"""Prints the coefficients of the centre of normal_quantile in quantile.rs, and their greatest relative error.

Run: pip install mpmath; python3 quantile_fit.py
A rational function of degree 16/16 in x = q_max^2 - q^2 for quantile(1/2 + q)/q on |q| <= q_max = 0.4995, by Loeb's method:
least squares at Chebyshev points, weighted by the denominator of the step before.
"""
from mpmath import cos, erfinv, lu_solve, matrix, mp, mpf, pi, sqrt

mp.dps = 160
Q_MAX, DEGREE, POINTS = mpf("0.4995"), 16, 200


def ratio(x):
    q = sqrt(Q_MAX**2 - x)
    return sqrt(mpf(2)) * erfinv(2 * q) / q


def value(coefficients, x):
    return sum(c * x**power for power, c in enumerate(coefficients))


points = [Q_MAX**2 * (1 - cos(pi * (2 * k + 1) / (2 * POINTS))) / 2 for k in range(POINTS)]
values = [ratio(x) for x in points]
weights = [mpf(1)] * POINTS
for _ in range(6):
    left, right = matrix(POINTS, 2 * DEGREE + 1), matrix(POINTS, 1)
    for i, (x, f) in enumerate(zip(points, values)):
        weight = weights[i] / f
        for j in range(DEGREE + 1):
            left[i, j] = weight * x**j
        for j in range(DEGREE):
            left[i, DEGREE + 1 + j] = -weight * f * x ** (j + 1)
        right[i] = weight * f
    solution = lu_solve(left.T * left, left.T * right)
    numerator = [solution[j] for j in range(DEGREE + 1)]
    denominator = [mpf(1)] + [solution[DEGREE + 1 + j] for j in range(DEGREE)]
    weights = [1 / value(denominator, x) for x in points]
grid = [Q_MAX**2 * mpf(k) / 400 for k in range(1, 400)]
error = max(abs(value(numerator, x) / value(denominator, x) / ratio(x) - 1) for x in grid)
print("greatest relative error", mp.nstr(error, 3))
for name, coefficients in (("numerator", numerator), ("denominator", denominator)):
    print(name, *(repr(float(c)) for c in coefficients), sep="\n")
