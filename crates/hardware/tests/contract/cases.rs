//! Matrices for the tests: random content in a buffer with room between the elements, and the error that is allowed.

use nautilus_hardware::{Element, Matrix, MatrixMut};
use proptest::prelude::*;

/// What stands where no kernel may write, and what a kernel that reads it will show.
const NOBODYS: f64 = f64::NAN;

/// How a matrix lies in its buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lie {
    pub(crate) by_rows: bool,
    /// Elements between the end of a line and the next one.
    pub(crate) gap: usize,
    /// Elements between neighbours of a line, less one.
    pub(crate) spread: usize,
    /// Elements before the first.
    pub(crate) offset: usize,
}

pub(crate) fn lie() -> impl Strategy<Value = Lie> {
    (
        any::<bool>(),
        prop_oneof![3 => Just(0_usize), 2 => 1..9_usize],
        prop_oneof![9 => Just(0_usize), 1 => 1..3_usize],
        0..5_usize,
    )
        .prop_map(|(by_rows, gap, spread, offset)| Lie { by_rows, gap, spread, offset })
}

/// Sizes from 1 to 130, small ones and the neighbours of block sizes more often.
pub(crate) fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 1..=34_usize,
        2 => 35..=130_usize,
        2 => prop::sample::select(vec![1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129]),
    ]
}

pub(crate) fn scale() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![0.0, 1.0, -1.0, 0.5, -1.75])
}

/// A matrix in a buffer of its own.
#[derive(Debug, Clone)]
pub(crate) struct Owned<T> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    row_stride: usize,
    column_stride: usize,
    offset: usize,
    data: Vec<T>,
}

impl<T: Element> Owned<T> {
    /// Elements from `fill`, which is called once for each; everything between them is not a number.
    pub(crate) fn new(
        rows: usize,
        columns: usize,
        lie: Lie,
        mut fill: impl FnMut(usize, usize) -> f64,
    ) -> Self {
        let step = lie.spread + 1;
        let line = if lie.by_rows { columns } else { rows } * step + lie.gap;
        let (row_stride, column_stride) = if lie.by_rows { (line, step) } else { (step, line) };
        let lines = if lie.by_rows { rows } else { columns };
        let data = vec![T::from_f64(NOBODYS); lie.offset + line * lines + 1];
        let mut owned = Self { rows, columns, row_stride, column_stride, offset: lie.offset, data };
        for i in 0..rows {
            for j in 0..columns {
                let at = owned.place(i, j);
                owned.data[at] = T::from_f64(fill(i, j));
            }
        }
        owned
    }

    fn place(&self, i: usize, j: usize) -> usize {
        self.offset + i * self.row_stride + j * self.column_stride
    }

    pub(crate) fn get(&self, i: usize, j: usize) -> f64 {
        self.data[self.place(i, j)].to_f64()
    }

    pub(crate) fn view(&self) -> Matrix<'_, T> {
        Matrix::new(&self.data[self.offset..], self.rows, self.columns, self.row_stride, self.column_stride)
            .unwrap()
    }

    pub(crate) fn view_mut(&mut self) -> MatrixMut<'_, T> {
        let Self { rows, columns, row_stride, column_stride, offset, .. } = *self;
        MatrixMut::new(&mut self.data[offset..], rows, columns, row_stride, column_stride).unwrap()
    }

    /// That nothing outside the matrix was written.
    pub(crate) fn assert_only_inside_written(&self) {
        let mut inside = vec![false; self.data.len()];
        for i in 0..self.rows {
            for j in 0..self.columns {
                inside[self.place(i, j)] = true;
            }
        }
        for (at, value) in self.data.iter().enumerate() {
            assert!(
                inside[at] || value.to_f64().is_nan(),
                "element {at} of the buffer is outside the matrix and was written"
            );
        }
    }
}

/// Numbers of a seed between -1 and 1 (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        #[allow(clippy::cast_precision_loss)]
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        2.0 * unit - 1.0
    }
}

/// The unit roundoff of a type.
fn unit<T: Element>() -> f64 {
    if T::TYPE.bytes() == 4 { f64::from(f32::EPSILON) / 2.0 } else { f64::EPSILON / 2.0 }
}

/// The bound on the error of a sum of `terms` rounded operations of total size `magnitude`.
pub(crate) fn bound<T: Element>(terms: usize, magnitude: f64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let k = (terms + 3) as f64;
    let g = k * unit::<T>() / (1.0 - k * unit::<T>());
    2.0 * g * magnitude + f64::MIN_POSITIVE
}
