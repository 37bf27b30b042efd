"""Writes distribution_reference.csv, the values that distribution.rs is tested against (mpmath, 50 digits).

Run: pip install mpmath scipy; python3 distribution_reference.py > distribution_reference.csv
Every row is also compared with scipy.stats, an independent implementation.
"""
from mpmath import betainc, erfc, mp, mpf, nstr, sqrt
from scipy import stats

mp.dps = 50


def normal(x):
    return erfc(-mpf(x) / sqrt(2)) / 2


def student_t(x, nu):
    x, nu = mpf(x), mpf(nu)
    # The lower tail straight, the upper by symmetry: no cancellation in either.
    tail = betainc(nu / 2, mpf(1) / 2, 0, nu / (nu + x * x), regularized=True) / 2
    return tail if x <= 0 else 1 - tail


POINTS = [0.0, 1e-12, 1e-6, 1e-3, 0.01, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0, 100.0, 1e4, 1e8]
print("distribution,degrees_of_freedom,x,value")
for magnitude in POINTS:
    for x in sorted({-magnitude, magnitude}):
        if abs(x) <= 10:
            value = normal(x)
            assert abs(float(value) - stats.norm.cdf(x)) < 1e-14
            print(f"normal,0,{x!r},{nstr(value, 20, min_fixed=0, max_fixed=0)}")
        for nu in (0.25, 0.5, 1.0, 2.5, 10.0, 1000.0):
            value = student_t(x, nu)
            if float(value) < 1e-300:
                continue
            assert abs(float(value) - stats.t.cdf(x, nu)) < 1e-10, (x, nu)
            print(f"student_t,{nu!r},{x!r},{nstr(value, 20, min_fixed=0, max_fixed=0)}")
