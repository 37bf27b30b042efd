//! What the blocked kernels need of a vector unit.
//!
//! A value of a [`Simd`] type is the proof that this machine has the unit: backends make one only after they have asked
//! the processor. Kernels are written once, marked `#[inline(always)]`, and compiled for a unit by [`Simd::call`].

#![allow(unsafe_code)]

use crate::element::Element;

/// A vector unit and its instructions on numbers of one type.
///
/// # Safety
/// An implementor exists only on machines that have the unit; `LANES`, `VECTORS` and `COLUMNS` are at least 1,
/// `VECTORS` is at most [`MAX_VECTORS`], `COLUMNS` at most [`MAX_COLUMNS`] and `LANES` at most [`MAX_LANES`].
pub(crate) unsafe trait Simd: Copy + Send + Sync + 'static {
    /// What the vectors are made of.
    type Element: Element;
    /// One register.
    type Vector: Copy;
    /// Which lanes of a register take part.
    type Mask: Copy;
    /// Numbers in a register.
    const LANES: usize;
    /// Registers in a column of the tile of C that stays in registers.
    const VECTORS: usize;
    /// Columns of that tile.
    const COLUMNS: usize;
    /// Whether a masked load is as fast as a whole one and its mask takes no register of the numbers.
    const MASKS_ARE_FREE: bool;

    /// Runs `kernel` compiled for this unit, if everything that it calls is inlined into it.
    fn call<R>(self, kernel: impl FnOnce() -> R) -> R;
    /// `value` in every lane.
    fn splat(self, value: Self::Element) -> Self::Vector;
    /// The first `count` lanes, `count` ≤ `LANES`.
    fn first(self, count: usize) -> Self::Mask;
    /// `a · b`.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a + b`.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a · b + c`, rounded once.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// `c - a · b`, rounded once.
    fn mul_sub_from(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The sum of all lanes.
    fn sum(self, a: Self::Vector) -> Self::Element;
    /// # Safety
    /// `LANES` numbers can be read at `from`.
    unsafe fn load(self, from: *const Self::Element) -> Self::Vector;
    /// The lanes of `mask`, 0 in the others.
    ///
    /// # Safety
    /// The lanes of `mask` can be read at `from`.
    unsafe fn load_some(self, from: *const Self::Element, mask: Self::Mask) -> Self::Vector;
    /// # Safety
    /// `LANES` numbers can be written at `to`.
    unsafe fn store(self, to: *mut Self::Element, value: Self::Vector);
    /// # Safety
    /// The lanes of `mask` can be written at `to`.
    unsafe fn store_some(self, to: *mut Self::Element, mask: Self::Mask, value: Self::Vector);
    /// Writes the transposed of four lines of four numbers: number j of line i, `from_step` apart, becomes number i of
    /// line j, `to_step` apart.
    ///
    /// # Safety
    /// Four numbers can be read at each line of `from`, and written at each of `to`.
    unsafe fn transpose_4(
        self,
        from: *const Self::Element,
        from_step: usize,
        to: *mut Self::Element,
        to_step: usize,
    );
    /// Asks for the cache line of `at`, which need not be a valid place.
    fn prefetch(self, at: *const Self::Element);
}

/// The most registers in a column of a tile.
pub(crate) const MAX_VECTORS: usize = 3;
/// The most columns of a tile.
pub(crate) const MAX_COLUMNS: usize = 8;
/// The most numbers in a register.
pub(crate) const MAX_LANES: usize = 16;
