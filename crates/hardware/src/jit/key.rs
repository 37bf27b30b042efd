//! What a kernel is specialised to, and how a product is brought into the one form that generators know.
//!
//! It decides which operand is the vectorised one and what has to be packed. It never looks at data.

use crate::element::{Element, ElementType};

/// The instruction set that code is generated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// x86-64 with AVX-512 F, VL, DQ and BW.
    Avx512,
    /// [`Isa::Avx512`] on a processor that computes 512 bits in two halves (AMD Zen 4): where a row does not fill wide
    /// vectors, all of it is computed in halves.
    Avx512Halves,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// aarch64 NEON.
    Neon,
    /// aarch64 SME.
    Sme,
}

impl Isa {
    /// Its name in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx512Halves => "avx512_halves",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Sme => "sme",
        }
    }
}

/// What is known of a scale factor when code is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scale {
    /// 0. Never the class of alpha: such a product is not generated.
    Zero,
    /// 1.
    One,
    /// -1.
    MinusOne,
    /// Any other, read when the kernel runs.
    General,
}

impl Scale {
    /// The class of a factor.
    #[must_use]
    pub fn of<T: Element>(value: T) -> Self {
        if value == T::ZERO {
            Self::Zero
        } else if value == T::ONE {
            Self::One
        } else if value == -T::ONE {
            Self::MinusOne
        } else {
            Self::General
        }
    }
}

/// The loop nest of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Rows of B and C are contiguous; an element of A times a vector of B is added to a vector of C.
    Outer,
    /// n = 1; rows of A, the vector x and the vector y are contiguous; sums run along the vectors.
    Dot,
}

/// C ← α·A·B + β·C as a generator gets it. Strides are in elements; those that are not here are 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KernelKey {
    /// Rows of C, at least 1.
    pub m: u32,
    /// Columns of C, at least 1.
    pub n: u32,
    /// The length of each sum, at least 1.
    pub k: u32,
    /// From one row of A to the next.
    pub a_row: u32,
    /// From one column of A to the next; 1 in [`Form::Dot`].
    pub a_column: u32,
    /// From one row of B to the next; 1 in [`Form::Dot`].
    pub b_row: u32,
    /// From one row of C to the next; 1 in [`Form::Dot`].
    pub c_row: u32,
    /// `F32` or `F64`.
    pub element: ElementType,
    /// For which processor.
    pub isa: Isa,
    /// Which loop nest.
    pub form: Form,
    /// The class of α, not zero.
    pub alpha: Scale,
    /// The class of β: `Zero`, `One` or `General`.
    pub beta: Scale,
}

/// The strides of an operand, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Strides {
    /// Between two rows.
    pub row: usize,
    /// Between two columns.
    pub column: usize,
}

impl Strides {
    pub(crate) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row }
    }
}

/// C ← α·A·B + β·C without data: A is m×k, B k×n, C m×n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GemmShape {
    /// Rows of A and C.
    pub m: usize,
    /// Columns of B and C.
    pub n: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// How A lies in memory.
    pub a: Strides,
    /// How B lies in memory.
    pub b: Strides,
    /// How C lies in memory.
    pub c: Strides,
}

impl GemmShape {
    /// Everything by rows, without gaps.
    #[must_use]
    pub fn row_major(m: usize, n: usize, k: usize) -> Self {
        let rows = |columns| Strides { row: columns, column: 1 };
        Self { m, n, k, a: rows(k), b: rows(n), c: rows(n) }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            m: self.n,
            n: self.m,
            k: self.k,
            a: self.b.transposed(),
            b: self.a.transposed(),
            c: self.c.transposed(),
        }
    }
}

/// A product that a caller asks for, as it is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) shape: GemmShape,
    pub(crate) element: ElementType,
    pub(crate) alpha: Scale,
    pub(crate) beta: Scale,
}

impl Request {
    #[inline]
    pub(crate) fn new<T: Element>(shape: GemmShape, alpha: T, beta: T) -> Self {
        Self { shape, element: T::TYPE, alpha: Scale::of(alpha), beta: Scale::of(beta) }
    }

    #[inline]
    fn words(&self) -> [u64; 10] {
        let GemmShape { m, n, k, a, b, c } = self.shape;
        let kinds = (self.element as u64) | (self.alpha as u64) << 8 | (self.beta as u64) << 16;
        let [m, n, k, ar, ac, br, bc, cr, cc] =
            [m, n, k, a.row, a.column, b.row, b.column, c.row, c.column].map(|size| size as u64);
        [m, n, k, ar, ac, br, bc, cr, cc, kinds]
    }

    /// A number below 64: the top bits of a sum of products with odd constants, which need not wait for each other.
    #[inline]
    pub(crate) fn slot(&self) -> usize {
        let mut factor = 0x9E37_79B9_7F4A_7C15_u64;
        let mut sum = 0_u64;
        for word in self.words() {
            sum = sum.wrapping_add(word.wrapping_mul(factor));
            factor = factor.wrapping_mul(0xD134_2543_DE82_EF95);
        }
        (sum >> 58) as usize
    }

    /// Equality in one branch.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.words().into_iter().zip(other.words()).fold(0, |bits, (left, right)| bits | (left ^ right)) == 0
    }
}

/// A product in the form that generators know, and how the caller's operands are brought into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Normal {
    pub(crate) key: KernelKey,
    /// The problem was transposed: A of the kernel is Bᵀ of the caller.
    pub(crate) swapped: bool,
    /// The kernel's A (in [`Form::Dot`]) must be copied so that its rows are contiguous.
    pub(crate) pack_a: bool,
    /// The kernel's B must be copied so that its rows (in [`Form::Dot`] its only column) are contiguous.
    pub(crate) pack_b: bool,
    /// The kernel's C is a contiguous copy, from which the result is written back.
    pub(crate) copy_c: bool,
}

/// Elements between rows of a copied operand: whole vectors of 64 bytes.
pub(crate) fn padded(columns: usize, element: ElementType) -> usize {
    columns.next_multiple_of(64 / element.bytes())
}

/// The normal form of a product with m, n, k ≥ 1 and α ≠ 0.
///
/// Nothing where a size or a stride in bytes does not fit 31 bits.
pub(crate) fn normal(request: &Request, isa: Isa) -> Option<Normal> {
    let Request { shape, element, alpha, beta } = *request;
    let swapped = wants_transposition(&shape);
    let shape = if swapped { shape.transposed() } else { shape };
    let GemmShape { m, n, k, a, b, c } = shape;
    let beta = if beta == Scale::MinusOne { Scale::General } else { beta };
    let narrow = |stride: usize, count: usize| {
        let bytes = stride.checked_mul(count.max(8))?.checked_mul(element.bytes())?;
        if bytes < 1 << 30 { u32::try_from(stride).ok() } else { None }
    };
    let key = |form, a_row, a_column, b_row, c_row| {
        Some(KernelKey {
            m: narrow(m, 1)?,
            n: narrow(n, 1)?,
            k: narrow(k, 1)?,
            a_row: narrow(a_row, m)?,
            a_column: narrow(a_column, k)?,
            b_row: narrow(b_row, k)?,
            c_row: narrow(c_row, m)?,
            element,
            isa,
            form,
            alpha,
            beta,
        })
    };
    if n == 1 {
        let (pack_a, pack_b, copy_c) = (k > 1 && a.column != 1, k > 1 && b.row != 1, c.row != 1);
        let a_row = if pack_a { padded(k, element) } else { a.row };
        return Some(Normal { key: key(Form::Dot, a_row, 1, 1, 1)?, swapped, pack_a, pack_b, copy_c });
    }
    let (pack_b, copy_c) = (n > 1 && b.column != 1, n > 1 && c.column != 1);
    let b_row = if pack_b { padded(n, element) } else { b.row };
    let c_row = if copy_c { padded(n, element) } else { c.row };
    let key = key(Form::Outer, a.row, a.column, b_row, c_row)?;
    Some(Normal { key, swapped, pack_a: false, pack_b, copy_c })
}

/// Whether Cᵀ = Bᵀ·Aᵀ is the better problem: the one whose C, and then whose B, has contiguous rows.
fn wants_transposition(shape: &GemmShape) -> bool {
    let GemmShape { m, n, a, b, c, .. } = *shape;
    match (m, n) {
        (1, 1) => false,
        // A row of results whose B has contiguous columns is a column of dot products.
        (1, _) => b.column != 1 && b.row == 1,
        // A column of results whose A has contiguous columns is a row of results.
        (_, 1) => a.row == 1 && a.column != 1,
        _ => c.column != 1 && (c.row == 1 || (b.column != 1 && a.row == 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: GemmShape) -> Normal {
        normal(&Request::new(shape, 1.0_f32, 0.0), Isa::Avx512).unwrap()
    }

    #[test]
    fn columns_are_rows_of_the_transposed_problem() {
        let rows = of(GemmShape::row_major(3, 5, 7));
        assert!(!rows.swapped && !rows.pack_b && !rows.copy_c);
        let columns = |rows| Strides { row: 1, column: rows };
        let turned = of(GemmShape { m: 5, n: 3, k: 7, a: columns(5), b: columns(7), c: columns(5) });
        assert!(turned.swapped);
        assert_eq!(turned.key, rows.key);
    }

    #[test]
    fn a_matrix_times_a_vector_sums_along_rows_or_adds_columns() {
        let rows = of(GemmShape::row_major(6, 1, 9));
        assert_eq!((rows.key.form, rows.pack_a, rows.pack_b, rows.copy_c), (Form::Dot, false, false, false));
        let columns = of(GemmShape { a: Strides { row: 1, column: 6 }, ..GemmShape::row_major(6, 1, 9) });
        assert_eq!((columns.key.form, columns.key.m, columns.key.n), (Form::Outer, 1, 6));
    }

    #[test]
    fn strides_beyond_31_bits_have_no_kernel() {
        let huge = Strides { row: 1 << 29, column: 1 };
        let shape = GemmShape { a: huge, ..GemmShape::row_major(4, 4, 4) };
        assert_eq!(normal(&Request::new(shape, 1.0_f32, 1.0), Isa::Avx2), None);
    }
}
