//! Loops of safe code, compiled for the vector unit of this machine.
//!
//! The compiler turns such loops into the unit's instructions by itself; it neither reorders nor fuses what floating
//! point rounds, so that the bits are those of the plain code, whatever the unit. It decides which unit, and no result.

#![allow(unsafe_code)]

use crate::backend::BackendId;
use crate::hardware::Hardware;

/// Who the loops are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// What every processor of this build's target has.
    Plain,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, VL, DQ and BW.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Unit {
    /// The widest unit whose backend is in use and that the processor has.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn widest(uses: impl Fn(BackendId) -> bool) -> Self {
        if uses(BackendId::Avx512)
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("fma")
        {
            Self::Avx512
        } else if uses(BackendId::Avx2) && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
        {
            Self::Avx2
        } else {
            Self::Plain
        }
    }

    /// Only x86-64 has units that its baseline lacks and that pay here.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn widest(_: impl Fn(BackendId) -> bool) -> Self {
        Self::Plain
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma,avx2")]
fn with_avx512<R>(kernel: impl FnOnce() -> R) -> R {
    kernel()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(kernel: impl FnOnce() -> R) -> R {
    kernel()
}

impl Unit {
    /// Runs `kernel` compiled for the unit, as far as it is inlined.
    #[inline(always)]
    pub(crate) fn call<R>(self, kernel: impl FnOnce() -> R) -> R {
        match self {
            Self::Plain => kernel(),
            // SAFETY: `Unit::widest` asked the processor.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { with_avx2(kernel) },
            // SAFETY: `Unit::widest` asked the processor.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { with_avx512(kernel) },
        }
    }
}

impl Hardware {
    /// Runs `kernel` compiled for the widest vector unit that this hardware uses, if the closure and everything that it
    /// calls is `#[inline(always)]`; what is not runs as it always does. The bits are the same everywhere.
    #[inline(always)]
    pub fn vectorised<R>(&self, kernel: impl FnOnce() -> R) -> R {
        self.unit().call(kernel)
    }
}

#[cfg(test)]
mod tests {
    use crate::backends;
    use crate::hardware::Options;
    use crate::{BackendId, Hardware, Switches};

    #[inline(always)]
    fn mixed(x: &[f64], y: &mut [f64]) {
        for (x, y) in x.iter().zip(y) {
            *y = x.mul_add(1.1, *y) / (1.0 + x * x).sqrt() - 0.3 * x;
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_unit() {
        let x: Vec<f64> = (0..1_003).map(|i| (f64::from(i) * 0.37).sin() * 1e3).collect();
        let mut expected = vec![0.1; x.len()];
        mixed(&x, &mut expected);
        for pin in [BackendId::Portable, BackendId::Avx2, BackendId::Avx512] {
            let options = Options { pin: Some(pin), ..Options::default() };
            let hardware = Hardware::new(backends::listings(), Switches::default(), options);
            let mut y = vec![0.1; x.len()];
            hardware.vectorised(
                #[inline(always)]
                || mixed(&x, &mut y),
            );
            assert_eq!(y, expected, "{pin}");
        }
    }
}
