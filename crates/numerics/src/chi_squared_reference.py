"""Writes chi_squared_reference.csv, the values that chi_squared.rs is tested against (mpmath, 50 digits).

Run: pip install mpmath scipy; python3 chi_squared_reference.py > chi_squared_reference.csv
Every row is also compared with scipy.stats, an independent implementation.
"""
from mpmath import gammainc, mp, mpf, nstr
from scipy import stats

mp.dps = 50
print("degrees_of_freedom,x,p")
for nu in (0.5, 1.0, 2.0, 2.5, 4.0, 7.3, 30.0, 100.0, 1000.0):
    for share in (1e-4, 0.01, 0.1, 0.4, 0.8, 1.0, 1.2, 2.0, 5.0, 12.0):
        x = nu * share
        p = gammainc(mpf(nu) / 2, 0, mpf(x) / 2, regularized=True)
        if p < mpf(10) ** -250 or 1 - p < mpf(10) ** -12:
            continue
        assert abs(float(p) / stats.chi2.cdf(x, nu) - 1) < 1e-9, (nu, x)
        print(f"{nu!r},{x!r},{nstr(p, 20, min_fixed=0, max_fixed=0)}")
