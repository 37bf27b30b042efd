//! Views of the caller's memory as matrices: shape and strides, checked once when the view is made.
//!
//! Element (i, j) of a view stands at `i · row_stride + j · column_stride` of its slice. A view that can be made can be
//! read (and, if mutable, written) everywhere without another check; kernels rely on it.

#![allow(unsafe_code)]

use std::marker::PhantomData;

/// Why memory is not the matrix that the caller says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The slice ends before the last element.
    #[error(
        "{rows}×{columns} with strides {row_stride} and {column_stride} needs {needed} elements, but the slice has {given}: \
         pass a longer slice or a smaller shape"
    )]
    TooShort {
        /// Rows of the view.
        rows: usize,
        /// Columns of the view.
        columns: usize,
        /// Elements between two rows.
        row_stride: usize,
        /// Elements between two columns.
        column_stride: usize,
        /// Elements that the view would reach over.
        needed: usize,
        /// Elements of the slice.
        given: usize,
    },
    /// The place of the last element does not fit a machine word.
    #[error(
        "a view of {rows}×{columns} with strides {row_stride} and {column_stride} is larger than any memory"
    )]
    TooLarge {
        /// Rows of the view.
        rows: usize,
        /// Columns of the view.
        columns: usize,
        /// Elements between two rows.
        row_stride: usize,
        /// Elements between two columns.
        column_stride: usize,
    },
    /// Two elements of a mutable view share a place.
    #[error(
        "strides {row_stride} and {column_stride} put two elements of a writable {rows}×{columns} view at one place: \
         a result needs a place for each element"
    )]
    Overlap {
        /// Rows of the view.
        rows: usize,
        /// Columns of the view.
        columns: usize,
        /// Elements between two rows.
        row_stride: usize,
        /// Elements between two columns.
        column_stride: usize,
    },
    /// Two operands do not belong together.
    #[error("{what}: {left} is not {right}")]
    Mismatch {
        /// Which two sizes should be equal.
        what: &'static str,
        /// The first.
        left: usize,
        /// The second.
        right: usize,
    },
}

/// Shape and strides, apart from the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl Extent {
    /// Elements from the first to the last, both counted; 0 when empty.
    fn reach(self) -> Result<usize, ShapeError> {
        if self.rows == 0 || self.columns == 0 {
            return Ok(0);
        }
        let reach = || {
            let down = (self.rows - 1).checked_mul(self.row_stride)?;
            let across = (self.columns - 1).checked_mul(self.column_stride)?;
            // Kernels compute byte offsets as signed numbers: eight bytes per element must fit.
            down.checked_add(across)?.checked_add(1).filter(|&reach| reach <= isize::MAX as usize / 8)
        };
        let Self { rows, columns, row_stride, column_stride } = self;
        reach().ok_or(ShapeError::TooLarge { rows, columns, row_stride, column_stride })
    }

    /// Rows one after the other.
    #[inline]
    fn by_rows(rows: usize, columns: usize) -> Self {
        Self { rows, columns, row_stride: columns.max(1), column_stride: 1 }
    }

    /// Columns one after the other.
    #[inline]
    fn by_columns(rows: usize, columns: usize) -> Self {
        Self { rows, columns, row_stride: 1, column_stride: rows.max(1) }
    }

    /// [`Extent::fits`] for lines without a gap, the common case, in one multiplication.
    #[inline]
    fn without_gaps_in(self, given: usize) -> Result<Self, ShapeError> {
        if self.rows.checked_mul(self.columns).is_none_or(|needed| needed > given) {
            self.fits(given)?;
        }
        Ok(self)
    }

    fn fits(self, given: usize) -> Result<(), ShapeError> {
        let needed = self.reach()?;
        let Self { rows, columns, row_stride, column_stride } = self;
        if needed > given {
            return Err(ShapeError::TooShort { rows, columns, row_stride, column_stride, needed, given });
        }
        Ok(())
    }

    /// Whether no two elements share a place: one direction steps over the whole of the other.
    fn distinct(self) -> Result<(), ShapeError> {
        let Self { rows, columns, row_stride, column_stride } = self;
        let steps_over = |outer: usize, inner: usize, count: usize| inner > 0 && outer > (count - 1) * inner;
        let distinct = match (rows, columns) {
            (0, _) | (_, 0) | (1, 1) => true,
            (1, _) => column_stride > 0,
            (_, 1) => row_stride > 0,
            _ => {
                steps_over(row_stride, column_stride, columns) || steps_over(column_stride, row_stride, rows)
            }
        };
        if distinct { Ok(()) } else { Err(ShapeError::Overlap { rows, columns, row_stride, column_stride }) }
    }

    fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn offset(self, row: usize, column: usize) -> usize {
        assert!(row < self.rows && column < self.columns, "({row}, {column}) is outside the matrix");
        row * self.row_stride + column * self.column_stride
    }
}

/// A matrix that is read.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: *const T,
    extent: Extent,
    memory: PhantomData<&'a [T]>,
}

/// A matrix that is written. No two of its elements share a place.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: *mut T,
    extent: Extent,
    memory: PhantomData<&'a mut [T]>,
}

// SAFETY: a view is a shared borrow of a slice of T.
unsafe impl<T: Sync> Send for Matrix<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Matrix<'_, T> {}
// SAFETY: a mutable view is the only borrow of its elements.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}
// SAFETY: through a shared reference elements can only be read.
unsafe impl<T: Sync> Sync for MatrixMut<'_, T> {}

macro_rules! shape_of_a_view {
    () => {
        /// Rows.
        #[must_use]
        pub fn rows(&self) -> usize {
            self.extent.rows
        }

        /// Columns.
        #[must_use]
        pub fn columns(&self) -> usize {
            self.extent.columns
        }

        /// Elements between two rows.
        #[must_use]
        pub fn row_stride(&self) -> usize {
            self.extent.row_stride
        }

        /// Elements between two columns.
        #[must_use]
        pub fn column_stride(&self) -> usize {
            self.extent.column_stride
        }
    };
}

impl<'a, T> Matrix<'a, T> {
    /// A view of `data` with any strides; rows may overlap, a stride may be 0.
    ///
    /// # Errors
    /// The slice is too short for the shape.
    pub fn new(
        data: &'a [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Result<Self, ShapeError> {
        let extent = Extent { rows, columns, row_stride, column_stride };
        extent.fits(data.len())?;
        Ok(Self { data: data.as_ptr(), extent, memory: PhantomData })
    }

    /// Rows one after the other (C order).
    ///
    /// # Errors
    /// The slice is too short for the shape.
    #[inline]
    pub fn row_major(data: &'a [T], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        let extent = Extent::by_rows(rows, columns).without_gaps_in(data.len())?;
        Ok(Self { data: data.as_ptr(), extent, memory: PhantomData })
    }

    /// Columns one after the other (Fortran order).
    ///
    /// # Errors
    /// The slice is too short for the shape.
    #[inline]
    pub fn column_major(data: &'a [T], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        let extent = Extent::by_columns(rows, columns).without_gaps_in(data.len())?;
        Ok(Self { data: data.as_ptr(), extent, memory: PhantomData })
    }

    /// A slice as one column.
    #[must_use]
    pub fn column(data: &'a [T]) -> Self {
        let extent = Extent::by_columns(data.len(), 1);
        Self { data: data.as_ptr(), extent, memory: PhantomData }
    }

    shape_of_a_view!();

    /// The same memory with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { extent: self.extent.transposed(), ..self }
    }

    /// Rows `from..from + rows` and columns `left..left + columns`.
    ///
    /// # Panics
    /// The block does not lie inside the matrix.
    #[must_use]
    pub fn block(self, from: usize, rows: usize, left: usize, columns: usize) -> Self {
        assert!(from <= self.rows() && rows <= self.rows() - from, "rows outside the matrix");
        assert!(left <= self.columns() && columns <= self.columns() - left, "columns outside the matrix");
        let data = if rows == 0 || columns == 0 {
            self.data
        } else {
            // SAFETY: the block's first element lies inside this view.
            unsafe { self.data.add(from * self.row_stride() + left * self.column_stride()) }
        };
        Self { data, extent: Extent { rows, columns, ..self.extent }, memory: PhantomData }
    }

    /// The first element, where there is one.
    #[must_use]
    pub fn as_ptr(&self) -> *const T {
        self.data
    }
}

impl<T: Copy> Matrix<'_, T> {
    /// Element (row, column).
    ///
    /// # Panics
    /// It lies outside the matrix.
    #[must_use]
    pub fn at(&self, row: usize, column: usize) -> T {
        let offset = self.extent.offset(row, column);
        // SAFETY: `offset` checked the place, and the view was checked against its slice.
        unsafe { *self.data.add(offset) }
    }
}

impl<'a, T> MatrixMut<'a, T> {
    /// A view of `data` with any strides that give each element a place of its own.
    ///
    /// # Errors
    /// The slice is too short for the shape, or two elements would share a place.
    pub fn new(
        data: &'a mut [T],
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Result<Self, ShapeError> {
        let extent = Extent { rows, columns, row_stride, column_stride };
        extent.fits(data.len())?;
        extent.distinct()?;
        Ok(Self { data: data.as_mut_ptr(), extent, memory: PhantomData })
    }

    /// Rows one after the other (C order).
    ///
    /// # Errors
    /// The slice is too short for the shape.
    #[inline]
    pub fn row_major(data: &'a mut [T], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        let extent = Extent::by_rows(rows, columns).without_gaps_in(data.len())?;
        Ok(Self { data: data.as_mut_ptr(), extent, memory: PhantomData })
    }

    /// Columns one after the other (Fortran order).
    ///
    /// # Errors
    /// The slice is too short for the shape.
    #[inline]
    pub fn column_major(data: &'a mut [T], rows: usize, columns: usize) -> Result<Self, ShapeError> {
        let extent = Extent::by_columns(rows, columns).without_gaps_in(data.len())?;
        Ok(Self { data: data.as_mut_ptr(), extent, memory: PhantomData })
    }

    /// A slice as one column.
    #[must_use]
    pub fn column(data: &'a mut [T]) -> Self {
        let extent = Extent::by_columns(data.len(), 1);
        Self { data: data.as_mut_ptr(), extent, memory: PhantomData }
    }

    shape_of_a_view!();

    /// The same memory with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { extent: self.extent.transposed(), ..self }
    }

    /// This view again, for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> MatrixMut<'_, T> {
        MatrixMut { data: self.data, extent: self.extent, memory: PhantomData }
    }

    /// The view for reading.
    #[must_use]
    pub fn as_ref(&self) -> Matrix<'_, T> {
        Matrix { data: self.data, extent: self.extent, memory: PhantomData }
    }

    /// The rows before `row`, and those from it on.
    ///
    /// # Panics
    /// There are fewer rows than `row`.
    #[must_use]
    pub fn split_rows(self, row: usize) -> (Self, Self) {
        assert!(row <= self.rows(), "row {row} is outside the matrix");
        let rest = self.rows() - row;
        let below = if rest == 0 || self.columns() == 0 {
            self.data
        } else {
            // SAFETY: row `row` exists, so its first element lies inside this view.
            unsafe { self.data.add(row * self.row_stride()) }
        };
        // No two elements of the view share a place, so the halves are disjoint.
        (
            Self { data: self.data, extent: Extent { rows: row, ..self.extent }, memory: PhantomData },
            Self { data: below, extent: Extent { rows: rest, ..self.extent }, memory: PhantomData },
        )
    }

    /// The columns before `column`, and those from it on.
    ///
    /// # Panics
    /// There are fewer columns than `column`.
    #[must_use]
    pub fn split_columns(self, column: usize) -> (Self, Self) {
        let (left, right) = self.transposed().split_rows(column);
        (left.transposed(), right.transposed())
    }

    /// The first element, where there is one.
    #[must_use]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.data
    }
}

impl<T: Copy> MatrixMut<'_, T> {
    /// Element (row, column).
    ///
    /// # Panics
    /// It lies outside the matrix.
    #[must_use]
    pub fn at(&self, row: usize, column: usize) -> T {
        self.as_ref().at(row, column)
    }

    /// Writes element (row, column).
    ///
    /// # Panics
    /// It lies outside the matrix.
    pub fn set(&mut self, row: usize, column: usize, value: T) {
        let offset = self.extent.offset(row, column);
        // SAFETY: `offset` checked the place, and the view was checked against its slice.
        unsafe { *self.data.add(offset) = value }
    }
}

/// Several matrices of one shape, `step` elements apart.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a, T> {
    first: Matrix<'a, T>,
    count: usize,
    step: usize,
}

/// Several matrices of one shape that are written, `step` elements apart, none reaching into the next.
#[derive(Debug)]
pub struct BatchMut<'a, T> {
    first: MatrixMut<'a, T>,
    count: usize,
    step: usize,
}

/// A batch as one long matrix whose rows are its matrices, to check it with the rules of a matrix. Empty matrices all
/// stand at one place, so that none stands outside of the slice.
fn batch_extent(extent: Extent, count: usize, step: usize) -> Result<Extent, ShapeError> {
    let columns = extent.reach()?;
    let row_stride = if columns == 0 { 0 } else { step };
    Ok(Extent { rows: count, columns, row_stride, column_stride: 1 })
}

impl<'a, T> Batch<'a, T> {
    /// `count` matrices; `step` 0 uses the same one every time.
    ///
    /// # Errors
    /// The slice is too short.
    pub fn new(
        data: &'a [T],
        count: usize,
        step: usize,
        (rows, columns): (usize, usize),
        (row_stride, column_stride): (usize, usize),
    ) -> Result<Self, ShapeError> {
        let extent = Extent { rows, columns, row_stride, column_stride };
        let whole = batch_extent(extent, count, step)?;
        whole.fits(data.len())?;
        let first = Matrix { data: data.as_ptr(), extent, memory: PhantomData };
        Ok(Self { first, count, step: whole.row_stride })
    }

    /// Matrices in the batch.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Elements from one matrix to the next, 0 where they are empty.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Matrix `index`.
    ///
    /// # Panics
    /// There are fewer.
    #[must_use]
    pub fn matrix(&self, index: usize) -> Matrix<'a, T> {
        assert!(index < self.count, "matrix {index} is outside the batch");
        // SAFETY: matrix `index` lies in the slice.
        Matrix { data: unsafe { self.first.data.add(index * self.step) }, ..self.first }
    }

    /// Matrices `from..from + count`.
    ///
    /// # Panics
    /// There are fewer.
    #[must_use]
    pub fn part(self, from: usize, count: usize) -> Self {
        assert!(from <= self.count && count <= self.count - from, "matrices outside the batch");
        // An empty part may stand outside the slice: nothing is ever read there.
        let data = self.first.data.wrapping_add(from * self.step);
        Self { first: Matrix { data, ..self.first }, count, ..self }
    }

    /// The shape and strides of its matrices, as that of an empty or the first one.
    pub(crate) fn extent(&self) -> Extent {
        self.first.extent
    }
}

impl<'a, T> BatchMut<'a, T> {
    /// `count` matrices that share no element.
    ///
    /// # Errors
    /// The slice is too short, or two elements would share a place.
    pub fn new(
        data: &'a mut [T],
        count: usize,
        step: usize,
        (rows, columns): (usize, usize),
        (row_stride, column_stride): (usize, usize),
    ) -> Result<Self, ShapeError> {
        let extent = Extent { rows, columns, row_stride, column_stride };
        let whole = batch_extent(extent, count, step)?;
        whole.fits(data.len())?;
        whole.distinct()?;
        extent.distinct()?;
        let first = MatrixMut { data: data.as_mut_ptr(), extent, memory: PhantomData };
        Ok(Self { first, count, step: whole.row_stride })
    }

    /// Matrices in the batch.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Elements from one matrix to the next, 0 where they are empty.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Matrix `index`.
    ///
    /// # Panics
    /// There are fewer.
    #[must_use]
    pub fn matrix(&mut self, index: usize) -> MatrixMut<'_, T> {
        assert!(index < self.count, "matrix {index} is outside the batch");
        // SAFETY: matrix `index` lies in the slice.
        let data = unsafe { self.first.data.add(index * self.step) };
        MatrixMut { data, extent: self.first.extent, memory: PhantomData }
    }

    /// This batch again, for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> BatchMut<'_, T> {
        BatchMut { first: self.first.reborrow(), count: self.count, step: self.step }
    }

    /// The first `at` matrices, and those after them.
    ///
    /// # Panics
    /// There are fewer.
    #[must_use]
    pub fn split(self, at: usize) -> (Self, Self) {
        assert!(at <= self.count, "matrix {at} is outside the batch");
        let Self { first: MatrixMut { data, extent, memory }, count, step } = self;
        // No two elements of the batch share a place, so the halves are disjoint; an empty one may stand outside the
        // slice.
        let second = MatrixMut { data: data.wrapping_add(at * step), extent, memory };
        let first = MatrixMut { data, extent, memory };
        (Self { first, count: at, step }, Self { first: second, count: count - at, step })
    }

    /// The shape and strides of its matrices.
    pub(crate) fn extent(&self) -> Extent {
        self.first.extent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reaches_exactly_as_far_as_its_slice() {
        let data: Vec<i32> = (0..12).collect();
        let rows = Matrix::row_major(&data, 3, 4).unwrap();
        assert_eq!((rows.at(0, 0), rows.at(1, 2), rows.at(2, 3)), (0, 6, 11));
        let columns = Matrix::column_major(&data, 3, 4).unwrap();
        assert_eq!((columns.at(1, 2), columns.transposed().at(2, 1)), (7, 7));
        assert_eq!(rows.block(1, 2, 2, 2).at(1, 1), 11);
        assert!(Matrix::row_major(&data, 3, 5).unwrap_err().to_string().contains("needs 15 elements"));
        assert!(Matrix::new(&data, 2, 3, 9, 1).is_ok());
        assert!(Matrix::new(&data, 2, 4, 9, 1).is_err());
    }

    #[test]
    fn empty_and_enormous_shapes() {
        let none: [f64; 0] = [];
        assert!(Matrix::row_major(&none, 0, 7).is_ok());
        assert!(Matrix::row_major(&none, 7, 0).is_ok());
        let huge = Matrix::new(&none, usize::MAX, 2, usize::MAX, 1).unwrap_err();
        assert!(matches!(huge, ShapeError::TooLarge { .. }), "{huge}");
        assert!(Matrix::row_major(&none, usize::MAX, usize::MAX).is_err());
    }

    #[test]
    fn results_that_would_overlap_are_refused() {
        let mut data = [0.0_f64; 32];
        for (rows, columns, row_stride, column_stride, fine) in [
            (2, 3, 3, 1, true),
            (2, 3, 1, 2, true),
            (2, 3, 2, 1, false),
            (2, 3, 0, 1, false),
            (1, 3, 0, 1, true),
            (3, 1, 0, 1, false),
            (1, 1, 0, 0, true),
            (2, 2, 5, 5, false),
        ] {
            let view = MatrixMut::new(&mut data, rows, columns, row_stride, column_stride);
            assert_eq!(view.is_ok(), fine, "{rows}×{columns} by {row_stride}, {column_stride}");
        }
        assert!(BatchMut::new(&mut data, 4, 3, (2, 2), (2, 1)).is_err());
        assert!(BatchMut::new(&mut data, 4, 4, (2, 2), (2, 1)).is_ok());
    }

    #[test]
    fn empty_matrices_of_a_batch_stand_inside_its_slice() {
        let mut data = [0_i32; 4];
        let start = data.as_ptr();
        let batch = Batch::new(&data, 3, usize::MAX, (0, 2), (2, 1)).unwrap();
        assert_eq!(batch.matrix(2).as_ptr(), start);
        assert_eq!(batch.part(3, 0).count(), 0);
        let mut batch = BatchMut::new(&mut data, 3, usize::MAX, (2, 0), (1, 1)).unwrap();
        assert_eq!(batch.matrix(2).as_mut_ptr().cast_const(), start);
        assert_eq!(batch.split(3).1.count(), 0);
    }

    #[test]
    fn halves_are_disjoint_and_whole() {
        let mut data: Vec<i32> = (0..12).collect();
        let (top, mut bottom) = MatrixMut::row_major(&mut data, 3, 4).unwrap().split_rows(1);
        assert_eq!((top.rows(), bottom.rows(), bottom.at(0, 0)), (1, 2, 4));
        bottom.set(1, 3, -1);
        assert_eq!(data[11], -1);
        let (left, right) = MatrixMut::row_major(&mut data, 3, 4).unwrap().split_columns(4);
        assert_eq!((left.columns(), right.columns()), (4, 0));
    }
}
