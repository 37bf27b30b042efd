//! AVX2 with FMA: registers of 32 bytes, 16 of them, and masked loads and stores for what is left over.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{backend, unit};
use crate::backend::{Backend, BackendId, Failure};
use crate::backends::blocked::{self, Simd};
use crate::job::{Job, Op, Spec};

// 2 × 6 accumulators, 2 registers of A and one of B leave one to spare of 16.
unit!(
    F32x8: f32, __m256, __m256i, 8 lanes, tile 2 by 6, free masks false, features "avx2,fma",
    first first_8, sum sum_f32, transpose super::transpose_f32,
    _mm256_set1_ps, _mm256_mul_ps, _mm256_add_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps,
    _mm256_loadu_ps, load_some_f32, _mm256_storeu_ps, _mm256_maskstore_ps
);
unit!(
    F64x4: f64, __m256d, __m256i, 4 lanes, tile 2 by 6, free masks false, features "avx2,fma",
    first first_4, sum sum_f64, transpose super::transpose_f64,
    _mm256_set1_pd, _mm256_mul_pd, _mm256_add_pd, _mm256_fmadd_pd, _mm256_fnmadd_pd,
    _mm256_loadu_pd, load_some_f64, _mm256_storeu_pd, _mm256_maskstore_pd
);

backend!(
    /// Blocked kernels on AVX2 with FMA, `f32` and `f64`.
    Avx2: F32x8, F64x4, needs "AVX2 and FMA", "avx2", "fma"
);

/// Reading from `LANES - count` gives `count` lanes that are on.
static ON_OFF_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static ON_OFF_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

#[inline(always)]
fn first_8(count: usize) -> __m256i {
    let lanes = &ON_OFF_32[8 - count..][..8];
    // SAFETY: `lanes` has eight numbers; a plain load of AVX, which whoever has a token has.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline(always)]
fn first_4(count: usize) -> __m256i {
    let lanes = &ON_OFF_64[4 - count..][..4];
    // SAFETY: `lanes` has four numbers; a plain load of AVX, which whoever has a token has.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_some_f32(mask: __m256i, from: *const f32) -> __m256 {
    // SAFETY: as the caller promises.
    unsafe { _mm256_maskload_ps(from, mask) }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load_some_f64(mask: __m256i, from: *const f64) -> __m256d {
    // SAFETY: as the caller promises.
    unsafe { _mm256_maskload_pd(from, mask) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_f32(a: __m256) -> f32 {
    let halves = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
    let pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));
    _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn sum_f64(a: __m256d) -> f64 {
    let halves = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd::<1>(a));
    _mm_cvtsd_f64(_mm_add_sd(halves, _mm_unpackhi_pd(halves, halves)))
}
