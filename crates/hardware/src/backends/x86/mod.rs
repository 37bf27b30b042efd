//! The vector units of x86-64: AVX2 with FMA, and AVX-512. What runs on them is the blocked code that they share.

#![allow(unsafe_code)]

mod avx2;
mod avx512;

use std::arch::x86_64::*;

pub use avx2::Avx2;
pub use avx512::Avx512;

/// A [`Simd`](crate::backends::blocked::Simd) token from intrinsics that differ in nothing but their names.
macro_rules! unit {
    (
        $name:ident: $element:ident, $vector:ident, $mask:ident, $lanes:literal lanes,
        tile $vectors:literal by $columns:literal, free masks $free:literal, features $features:literal, first $first:path, sum $sum:path,
        transpose $transpose:path,
        $splat:ident, $mul:ident, $add:ident, $mul_add:ident, $mul_sub_from:ident,
        $load:ident, $load_some:path, $store:ident, $store_some:path
    ) => {
        /// The proof that this machine has the unit.
        #[derive(Debug, Clone, Copy)]
        struct $name(());

        // SAFETY: `open` of the backend makes a token only where the processor has the features.
        unsafe impl Simd for $name {
            type Element = $element;
            type Vector = $vector;
            type Mask = $mask;
            const LANES: usize = $lanes;
            const VECTORS: usize = $vectors;
            const COLUMNS: usize = $columns;
            const MASKS_ARE_FREE: bool = $free;

            #[inline(always)]
            fn call<R>(self, kernel: impl FnOnce() -> R) -> R {
                #[target_feature(enable = $features)]
                fn with_features<R>(kernel: impl FnOnce() -> R) -> R {
                    kernel()
                }
                // SAFETY: the token proves that the processor has the features.
                unsafe { with_features(kernel) }
            }
            #[inline(always)]
            fn splat(self, value: $element) -> $vector {
                // SAFETY: the token proves that the processor has the instruction.
                unsafe { $splat(value) }
            }
            #[inline(always)]
            fn first(self, count: usize) -> $mask {
                $first(count)
            }
            #[inline(always)]
            fn mul(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token proves that the processor has the instruction.
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            fn add(self, a: $vector, b: $vector) -> $vector {
                // SAFETY: the token proves that the processor has the instruction.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            fn mul_add(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: the token proves that the processor has the instruction.
                unsafe { $mul_add(a, b, c) }
            }
            #[inline(always)]
            fn mul_sub_from(self, a: $vector, b: $vector, c: $vector) -> $vector {
                // SAFETY: the token proves that the processor has the instruction.
                unsafe { $mul_sub_from(a, b, c) }
            }
            #[inline(always)]
            fn sum(self, a: $vector) -> $element {
                // SAFETY: the token proves that the processor has the instructions.
                unsafe { $sum(a) }
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $element) -> $vector {
                // SAFETY: as the caller promises; the token proves that the processor has the instruction.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn load_some(self, from: *const $element, mask: $mask) -> $vector {
                // SAFETY: as above.
                unsafe { $load_some(mask, from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $element, value: $vector) {
                // SAFETY: as above.
                unsafe { $store(to, value) }
            }
            #[inline(always)]
            unsafe fn store_some(self, to: *mut $element, mask: $mask, value: $vector) {
                // SAFETY: as above.
                unsafe { $store_some(to, mask, value) }
            }
            #[inline(always)]
            unsafe fn transpose_4(
                self,
                from: *const $element,
                from_step: usize,
                to: *mut $element,
                to_step: usize,
            ) {
                // SAFETY: as above.
                unsafe { $transpose(from, from_step, to, to_step) }
            }
            #[inline(always)]
            fn prefetch(self, at: *const $element) {
                // SAFETY: a prefetch reads nothing that a program could see and never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }
        }
    };
}
use unit;

/// A backend out of a single and a double precision unit.
macro_rules! backend {
    ($(#[$doc:meta])* $name:ident: $single:ident, $double:ident, needs $needs:literal, $($feature:tt),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name {
            single: $single,
            double: $double,
        }

        impl $name {
            /// The backend, where the processor has the instructions.
            ///
            /// # Errors
            /// One sentence that says what is missing.
            pub fn open() -> Result<Self, String> {
                if $(is_x86_feature_detected!($feature))&&+ {
                    Ok(Self { single: $single(()), double: $double(()) })
                } else {
                    Err(concat!("needs ", $needs, ", which this processor or its operating system does not offer").to_owned())
                }
            }
        }

        impl Backend for $name {
            fn id(&self) -> BackendId {
                BackendId::$name
            }

            fn supports(&self, spec: &Spec) -> bool {
                spec.op != Op::GemmI8
            }

            fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
                match job {
                    Job::F32(task) => blocked::run(self.single, task),
                    Job::F64(task) => blocked::run(self.double, task),
                    Job::I8(_) => Err(Failure::Broken(concat!("there are no 8-bit kernels for ", $needs).to_owned())),
                }
            }
        }
    };
}
use backend;

/// # Safety
/// As for [`Simd::transpose_4`](crate::backends::blocked::Simd::transpose_4); the processor has AVX.
#[inline]
#[target_feature(enable = "avx")]
pub(crate) unsafe fn transpose_f64(from: *const f64, from_step: usize, to: *mut f64, to_step: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        let line = |i| _mm256_loadu_pd(from.add(i * from_step));
        let (a, b, c, d) = (line(0), line(1), line(2), line(3));
        let (ab_even, ab_odd) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        let (cd_even, cd_odd) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
        _mm256_storeu_pd(to, _mm256_permute2f128_pd::<0x20>(ab_even, cd_even));
        _mm256_storeu_pd(to.add(to_step), _mm256_permute2f128_pd::<0x20>(ab_odd, cd_odd));
        _mm256_storeu_pd(to.add(2 * to_step), _mm256_permute2f128_pd::<0x31>(ab_even, cd_even));
        _mm256_storeu_pd(to.add(3 * to_step), _mm256_permute2f128_pd::<0x31>(ab_odd, cd_odd));
    }
}

/// # Safety
/// As for [`Simd::transpose_4`](crate::backends::blocked::Simd::transpose_4).
#[inline]
unsafe fn transpose_f32(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    // SAFETY: as the caller promises.
    unsafe {
        let line = |i| _mm_loadu_ps(from.add(i * from_step));
        let (mut a, mut b, mut c, mut d) = (line(0), line(1), line(2), line(3));
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        for (j, line) in [a, b, c, d].into_iter().enumerate() {
            _mm_storeu_ps(to.add(j * to_step), line);
        }
    }
}
