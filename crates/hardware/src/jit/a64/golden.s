movz x3, #0xbeef
movk x17, #0x12, lsl #16
mov x22, x0
add x14, x14, x21
add x15, x4, x13, lsl #3
add x1, x2, #4095
sub sp, sp, #112
sub x16, x1, x13
subs x13, x13, #1
cmp x16, x11
csel x17, x16, x11, lo
madd x15, x13, x9, x8
ret
stp x19, x20, [sp, #64]
ldp x23, x24, [sp, #96]
stp d8, d9, [sp]
ldp d14, d15, [sp, #48]
ldr s3, [x5, #4]
ldr d3, [x5, #8]
ldr q31, [x14, #32]
str s3, [x5, #28]
str d3, [x5]
str q17, [x15, #112]
ld1r {v27.4s}, [x5], x20
ld1r {v27.2d}, [x5], x20
ld1r {v27.4s}, [x16], #4
ld1 {v24.s}[2], [x16]
st1 {v24.s}[2], [x16]
movi v9.2d, #0
fmla v1.4s, v25.4s, v30.4s
fmla v1.2d, v25.2d, v30.2d
fmls v1.4s, v25.4s, v30.4s
fmls v1.2d, v25.2d, v30.2d
fmul v1.4s, v25.4s, v30.4s
fmul v1.2d, v25.2d, v30.2d
fadd v1.4s, v25.4s, v30.4s
fadd v1.2d, v25.2d, v30.2d
faddp v1.4s, v25.4s, v30.4s
faddp v1.2d, v25.2d, v30.2d
smstart
smstop
cntw x11
cntd x11
ptrue p0.s
ptrue p1.d
whilelo p2.s, x15, x1
whilelo p2.d, x15, x1
ld1w {z1.s}, p2/z, [x15, #1, mul vl]
ld1d {z1.d}, p5/z, [x15, #3, mul vl]
st1w {z1.s}, p4, [x15, #1, mul vl]
st1d {z1.d}, p4, [x15]
ld1rw {z31.s}, p0/z, [x3, #4]
ld1rd {z31.d}, p0/z, [x3, #8]
zero {za}
fmopa za3.s, p2/m, p4/m, z1.s, z3.s
fmopa za5.d, p1/m, p5/m, z1.d, z7.d
fmops za1.s, p2/m, p4/m, z1.s, z3.s
fmops za2.d, p2/m, p4/m, z1.d, z3.d
mova z1.s, p2/m, za3h.s[w12, 0]
mova z1.d, p0/m, za5v.d[w12, 0]
mova za3h.s[w12, 0], p2/m, z1.s
mova za5v.d[w12, 0], p0/m, z9.d
fmul z1.s, z2.s, z30.s
fmul z1.d, z2.d, z30.d
fadd z1.s, z2.s, z3.s
fadd z1.d, z2.d, z3.d
fmla z1.s, p2/m, z3.s, z31.s
fmla z1.d, p0/m, z3.d, z31.d
