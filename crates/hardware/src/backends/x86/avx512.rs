//! AVX-512: registers of 64 bytes, 32 of them, and masks for what is left over.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{backend, unit};
use crate::backend::{Backend, BackendId, Failure};
use crate::backends::blocked::{self, Simd};
use crate::job::{Job, Op, Spec};

// 3 × 8 accumulators, 3 registers of A and one of B leave four to spare of 32.
unit!(
    F32x16: f32, __m512, __mmask16, 16 lanes, tile 3 by 8, free masks true, features "avx512f,avx512vl,avx512dq,avx512bw,fma,avx2",
    first first_16, sum _mm512_reduce_add_ps, transpose super::transpose_f32,
    _mm512_set1_ps, _mm512_mul_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_storeu_ps, _mm512_mask_storeu_ps
);
unit!(
    F64x8: f64, __m512d, __mmask8, 8 lanes, tile 3 by 8, free masks true, features "avx512f,avx512vl,avx512dq,avx512bw,fma,avx2",
    first first_8, sum _mm512_reduce_add_pd, transpose super::transpose_f64,
    _mm512_set1_pd, _mm512_mul_pd, _mm512_add_pd, _mm512_fmadd_pd, _mm512_fnmadd_pd,
    _mm512_loadu_pd, _mm512_maskz_loadu_pd, _mm512_storeu_pd, _mm512_mask_storeu_pd
);

backend!(
    /// Blocked kernels on AVX-512, `f32` and `f64`.
    Avx512: F32x16, F64x8, needs "AVX-512 F, VL, DQ and BW",
    "avx512f", "avx512vl", "avx512dq", "avx512bw", "fma", "avx2"
);

#[inline(always)]
fn first_16(count: usize) -> __mmask16 {
    debug_assert!(count <= 16);
    u16::MAX.checked_shr(16 - count as u32).unwrap_or(0)
}

#[inline(always)]
fn first_8(count: usize) -> __mmask8 {
    debug_assert!(count <= 8);
    u8::MAX.checked_shr(8 - count as u32).unwrap_or(0)
}
