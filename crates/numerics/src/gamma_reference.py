"""Writes gamma_reference.csv, the values that gamma.rs is tested against (mpmath, 50 digits).

Run: pip install mpmath scipy; python3 gamma_reference.py > gamma_reference.csv
Every row is also compared with scipy.special, an independent implementation.
"""
from mpmath import gammainc, mp, mpf, nstr
from scipy import special

mp.dps = 50

print("a,x,value")
for a in (0.1, 0.5, 1.0, 1.5, 2.0, 5.0, 12.5, 50.0, 125.0, 500.0):
    for share in (0.001, 0.01, 0.1, 0.5, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 40.0):
        x = a * share
        value = gammainc(mpf(a), mpf(x), mp.inf, regularized=True)
        if value < 1e-290:
            continue
        assert abs(float(value) - special.gammaincc(a, x)) <= 1e-12, (a, x)
        print(f"{a!r},{x!r},{nstr(value, 20, min_fixed=0, max_fixed=0)}")
