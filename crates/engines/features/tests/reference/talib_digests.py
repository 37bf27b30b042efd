"""Digests of what TA-Lib 0.8.1 (the C library in the wheel of PyPI's TA-Lib 0.8.2) computes from made-up bars.

Reads the calls in talib_calls.txt, writes talib_digests.csv: the call, its first bar with a value, and a digest of all bars.
"""

import struct
from pathlib import Path

import numpy as np
import talib
from talib import abstract

HERE = Path(__file__).parent
BARS = 12_000
WORD = (1 << 64) - 1


def bars():
    """Bars made of whole numbers, so that another language makes the same: see tests/talib/data.rs."""
    state = 20_261_012

    def draw(k):
        nonlocal state
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) & WORD
        return (state >> 33) % k

    def shadow():
        return [0, draw(5), draw(40), draw(160)][draw(4)]

    close, rows = 10_000, []
    for i in range(BARS):
        gap = (draw(9) - 4) * (8 if draw(8) == 0 else 1)
        body = [0, draw(7) - 3, draw(7) - 3, draw(81) - 40, draw(81) - 40, draw(301) - 150][draw(6)]
        upper, lower = shadow(), shadow()
        volume = 0 if i % 307 < 9 else 1_000 + draw(100_000)
        if i % 211 < 12:
            gap = body = upper = lower = 0
        if close < 5_000 or close > 20_000:
            body = abs(body) if close < 5_000 else -abs(body)
        opened = close + gap
        close = opened + body
        rows.append((opened, max(opened, close) + upper, min(opened, close) - lower, close, volume))
    table = np.array(rows, dtype=np.float64)
    series = dict(zip(["open", "high", "low", "close", "volume"], table.T.copy()))
    return {name: values if name == "volume" else values / 100.0 for name, values in series.items()}


def parse(call):
    """`BETA(5)(high,low)[0]`: the name, the parameters, the inputs, which output."""
    call, _, output = call.partition("[")
    name, *lists = call.split("(")
    lists = [[item for item in part.rstrip(")").split(",") if item] for part in lists] + [[], []]
    return name, lists[0], lists[1], int(output.rstrip("]") or 0)


def values(call, series):
    name, parameters, inputs, output = parse(call)
    function = abstract.Function(name)
    names = []
    for given in function.input_names.values():
        names += [given] if isinstance(given, str) else given
    if inputs:
        names = inputs
    kinds = [type(default) for default in function.parameters.values()]
    parameters = [kind(parameter) for kind, parameter in zip(kinds, parameters)]
    function.parameters = dict(zip(function.parameters, parameters))
    result = getattr(talib, name)(*[series[name] for name in names], *parameters)
    result = result[output] if isinstance(result, (tuple, list)) else result
    result = result.astype(np.float64)
    result[: function.lookback] = np.nan
    return result


def digest(result):
    """FNV-1a over the bits of each value; undefined is one pattern and zero has no sign."""
    hashed = 0xCBF29CE484222325
    for value in result:
        (bits,) = struct.unpack("<Q", struct.pack("<d", value + 0.0)) if value == value else (0x7FF8 << 48,)
        hashed = ((hashed ^ bits) * 0x100000001B3) & WORD
    return hashed


def calls():
    for line in (HERE / "talib_calls.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.split(" = ")[0].strip()


def main():
    assert talib.__ta_version__.startswith(b"0.8.1"), talib.__ta_version__
    series = bars()
    lines = ["call;first;digest"]
    for call in sorted(set(calls())):
        result = values(call, series)
        defined = np.flatnonzero(~np.isnan(result))
        lines.append(f"{call};{defined[0] if len(defined) else ''};{digest(result):016x}")
    (HERE / "talib_digests.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
