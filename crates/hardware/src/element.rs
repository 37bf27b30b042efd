//! The number types that matrices are made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::job::{Job, Task};

/// What a matrix is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// 8-bit integers, signed or not, whose products are added in 32 bits.
    I8,
}

impl ElementType {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::I8 => 1,
        }
    }

    /// Its name in requests, labels and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I8 => "i8",
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A real number that kernels exist for: `f32` or `f64`.
pub trait Element:
    sealed::Sealed
    + Copy
    + Default
    + PartialEq
    + PartialOrd
    + fmt::Debug
    + fmt::Display
    + Send
    + Sync
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + 'static
{
    /// Which one it is.
    const TYPE: ElementType;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// `self · a + b`, rounded once.
    #[must_use]
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The square root.
    #[must_use]
    fn sqrt(self) -> Self;
    /// The nearest value of this type.
    #[must_use]
    fn from_f64(value: f64) -> Self;
    /// The same value as `f64`.
    #[must_use]
    fn to_f64(self) -> f64;
    /// A task on elements of this type as a job.
    fn job(task: Task<'_, Self>) -> Job<'_>;
}

macro_rules! element {
    ($type:ident, $variant:ident) => {
        impl Element for $type {
            const TYPE: ElementType = ElementType::$variant;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            fn mul_add(self, a: Self, b: Self) -> Self {
                $type::mul_add(self, a, b)
            }
            fn sqrt(self) -> Self {
                $type::sqrt(self)
            }
            #[allow(clippy::cast_possible_truncation)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            fn to_f64(self) -> f64 {
                self.into()
            }
            fn job(task: Task<'_, Self>) -> Job<'_> {
                Job::$variant(task)
            }
        }
    };
}
element!(f32, F32);
element!(f64, F64);
