"""Writes sobol_joe_kuo.txt, the direction numbers that sobol.rs reads, and sobol_reference.csv, points it is tested against.

Run: pip install scipy; python3 sobol_joe_kuo.py > sobol_joe_kuo.txt
The numbers are those of new-joe-kuo-6.21201 (2010) as scipy ships them: every polynomial up to degree 13.
"""
import os
import sys

import numpy as np
from scipy.stats import _sobol, qmc

NOTICE = """\
# Direction numbers of Sobol sequences: new-joe-kuo-6.21201 of 16 September 2010 by Stephen Joe and Frances Y. Kuo, lines
# 1 to 1110. A line is dimension 2, 3, ...: the inner coefficients of the primitive polynomial as a number, then m_1, m_2, ...
#
# Copyright (c) 2008, Frances Y. Kuo and Stephen Joe. All rights reserved.
#
# Redistribution and use in source and binary forms, with or without modification, are permitted provided that the
# following conditions are met:
#
#     * Redistributions of source code must retain the above copyright notice, this list of conditions and the following
#       disclaimer.
#     * Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the
#       following disclaimer in the documentation and/or other materials provided with the distribution.
#     * Neither the names of the copyright holders nor the names of the University of New South Wales and the University
#       of Waikato and its contributors may be used to endorse or promote products derived from this software without
#       specific prior written permission.
#
# THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS ``AS IS'' AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT
# LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT
# SHALL THE COPYRIGHT HOLDERS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES
# (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS
# INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING
# NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH
# DAMAGE."""
DIMENSIONS = 1111

table = np.load(os.path.join(os.path.dirname(_sobol.__file__), "_sobol_direction_numbers.npz"))
print(NOTICE)
for dimension in range(1, DIMENSIONS):
    polynomial = int(table["poly"][dimension])
    degree = polynomial.bit_length() - 1
    assert degree <= 13
    print((polynomial >> 1) & ((1 << (degree - 1)) - 1), *table["vinit"][dimension][:degree])

# Points in the order of the Gray code: every dimension of a few of the first 1,024.
points = qmc.Sobol(DIMENSIONS, scramble=False, bits=32).random(1024)
with open("sobol_reference.csv", "w") as file:
    print("point,dimension,value_times_2_to_32", file=file)
    for point in (1, 2, 3, 100, 1023):
        for dimension in [*range(12), *range(12, DIMENSIONS, 37), DIMENSIONS - 1]:
            print(point, dimension, int(points[point, dimension] * 2**32), sep=",", file=file)
