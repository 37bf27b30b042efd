//! End-to-end and static checks: see `tests/`. This library is empty; the package exists so that the checks run.
