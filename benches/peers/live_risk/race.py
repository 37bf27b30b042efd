"""Times numpy at what the live risk measures do: a change of one position's value, and the questions on what follows.

Run: $NAUTILUS_PEER_RISK_PYTHON race.py case.bin > report.json     (a Python with numpy)

case.bin: a line of JSON (instruments N, scenarios S, factors K, busy, events, questions, confidence, rounds), a newline,
  then f64, little-endian: returns (N*S, an instrument after the other), values (N), exposures (N*K), changes (events).

What is timed, in nanoseconds per event, one figure per round after one that does not count
  apply        pnl += change * returns[i] in place, and how many are below the old VaR; i among the busy instruments
  apply_any    the same, i among all
  measure      VaR and ES of pnl by numpy.partition
  what_if      pnl + change * returns[i], and VaR and ES of it; what_if_95 at 95 %
  below        how many of pnl + change * returns[i] are below
  factor       x += change * h[i], specific += ..., sqrt(x @ x + specific); factor_any with i among all

report.json: {"nanoseconds": {name: [per round]}, "values": {name: number}}; values are those of the first state.
"""
import gc
import json
import os
import sys
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

with open(sys.argv[1], "rb") as file:
    head = json.loads(file.readline())
    numbers = np.frombuffer(file.read(), dtype="<f8")
n, s, k = head["instruments"], head["scenarios"], head["factors"]
returns, values, exposures, changes = np.split(numbers, np.cumsum([n * s, n, n * k]))
returns, h = returns.reshape(n, s).copy(), 1e-2 * exposures.reshape(n, k)
changes = changes.tolist()
own = np.full(n, 1e-4)
pnl = values @ returns
x, specific = values @ h, (values**2 * own).sum()
held = values.copy()


def tail(outcomes, confidence):
    count = max(1, int(np.ceil(np.round(len(outcomes) * (1 - confidence), 9))))
    smallest = np.partition(outcomes, count - 1)[:count]
    return -smallest[-1], -smallest.mean()


var, es = tail(pnl, head["confidence"])
first = pnl + changes[0] * returns[0]
answers = {
    "var": var, "es": es, "what_if": tail(first, head["confidence"])[0], "what_if_95": tail(first, 0.95)[0],
    "sigma": float(np.sqrt(x @ x + specific)),
}
room = np.empty(s)


def apply(at, among):
    np.multiply(returns[at // 2 * 7 % among], changes[at], out=room)
    np.add(pnl, room, out=pnl)
    return np.count_nonzero(pnl < -var)


def factor(at, among):
    global x, specific
    i, change = at // 2 * 7 % among, changes[at]
    x += change * h[i]
    specific += own[i] * change * (2 * held[i] + change)
    held[i] += change
    return np.sqrt(x @ x + specific)


def moved(at):
    return pnl + changes[at] * returns[at // 2 * 7 % head["busy"]]


def rounds(events, call):
    figures = []
    for turn in range(head["rounds"] + 1):
        start = time.process_time_ns()
        for at in range(events):
            call(at)
        figures.append((time.process_time_ns() - start) / events)
    return figures[1:]


gc.disable()
busy, events, questions = head["busy"], head["events"] // 10, head["questions"]
report = {
    "apply": rounds(events, lambda at: apply(at, busy)),
    "apply_any": rounds(events, lambda at: apply(at, n)),
    "measure": rounds(questions, lambda at: tail(pnl, head["confidence"])),
    "what_if": rounds(questions, lambda at: tail(moved(at), head["confidence"])),
    "what_if_95": rounds(questions, lambda at: tail(moved(at), 0.95)),
    "below": rounds(questions, lambda at: np.count_nonzero(moved(at) < -var)),
    "factor": rounds(events, lambda at: factor(at, busy)),
    "factor_any": rounds(events, lambda at: factor(at, n)),
}
json.dump({"nanoseconds": report, "values": answers}, sys.stdout)
