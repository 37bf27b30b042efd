"""Writes quantile_reference.csv, the values that quantile.rs is tested against (mpmath, 60 digits).

Run: pip install mpmath scipy; python3 quantile_reference.py > quantile_reference.csv
Every row is also compared with scipy.stats, an independent implementation.
"""
from mpmath import betainc, erfc, findroot, log, mp, mpf, nstr, sqrt
from scipy import stats

mp.dps = 60


def normal(p):
    start = stats.norm.ppf(p)
    return findroot(lambda x: log(erfc(-x / sqrt(2)) / 2) - log(mpf(p)), (mpf(start), mpf(start) * (1 + mpf(10) ** -9)))


def student_t(p, nu):
    nu = mpf(nu)
    start = mpf(stats.t.ppf(p, float(nu)))
    tail = lambda x: betainc(nu / 2, mpf(1) / 2, 0, nu / (nu + x * x), regularized=True) / 2
    return findroot(lambda x: log(tail(x)) - log(mpf(p)), (start, start * (1 + mpf(10) ** -7)))


print("distribution,degrees_of_freedom,p,value")
LOW = [1e-300, 1e-100, 1e-30, 1e-20, 1e-15, 1e-11, 1.3e-11, 1.4e-11, 1e-9, 1e-6, 1e-4, 0.001, 0.0074, 0.0076, 0.01]
for p in LOW + [0.02, 0.025, 0.05, 0.075, 0.1, 0.2, 0.25, 0.3, 0.4, 0.45, 0.49, 0.499]:
    value = normal(p)
    assert abs(float(value) / stats.norm.ppf(p) - 1) < 1e-13, p
    print(f"normal,0,{p!r},{nstr(value, 20, min_fixed=0, max_fixed=0)}")
for nu in (1.0, 1.5, 2.1, 3.0, 4.0, 5.5, 10.0, 30.0, 200.0):
    for p in (1e-8, 1e-6, 1e-4, 0.001, 0.01, 0.025, 0.05, 0.1, 0.25, 0.4, 0.49):
        value = student_t(p, nu)
        assert abs(float(value) / stats.t.ppf(p, nu) - 1) < 1e-8, (p, nu)
        print(f"student_t,{nu!r},{p!r},{nstr(value, 20, min_fixed=0, max_fixed=0)}")
