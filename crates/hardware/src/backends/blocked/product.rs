//! C ← α·A·B + β·C in blocks that fit the caches (Goto & van de Geijn, Anatomy of High-Performance Matrix
//! Multiplication, 2008; the loop order of BLIS), for the whole of C or one triangle of it.
//!
//! Tiles have their rows side by side; a C by rows is computed as Cᵀ = Bᵀ·Aᵀ. Small operands are read where they lie.

#![allow(unsafe_code)]

use super::pack::{pack, with_buffers};
use super::simd::Simd;
use super::tile::{self, TILE_MAX, Tile};
use super::vector::matrix_vector;
use crate::element::Element;
use crate::view::{Matrix, MatrixMut};

/// Which part of C is computed; the rest is neither read nor written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// The diagonal and what is below it.
    Lower,
    /// The diagonal and what is above it.
    Upper,
}

/// How a block of C lies to the part that is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Inside,
    Across,
    Outside,
}

impl Part {
    fn transposed(self) -> Self {
        match self {
            Self::Whole => Self::Whole,
            Self::Lower => Self::Upper,
            Self::Upper => Self::Lower,
        }
    }

    /// The rows from `row` on, of `rows`, that column `column` has.
    fn rows_of(self, column: usize, row: usize, rows: usize) -> std::ops::Range<usize> {
        match self {
            Self::Whole => 0..rows,
            Self::Lower => column.saturating_sub(row).min(rows)..rows,
            Self::Upper => 0..(column + 1).saturating_sub(row).min(rows),
        }
    }

    /// The rows that any column has of the block of `rows` × `columns` at (row, column), which is not outside.
    fn rows_used(
        self,
        (row, column): (usize, usize),
        (rows, columns): (usize, usize),
    ) -> std::ops::Range<usize> {
        // The part is widest in the first column where it is below the diagonal, else in the last.
        self.rows_of(if self == Self::Lower { column } else { column + columns - 1 }, row, rows)
    }

    fn has(self, row: usize, column: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::Lower => row >= column,
            Self::Upper => row <= column,
        }
    }

    /// Where the block of `rows` × `columns` at (row, column) lies; neither is 0.
    fn place(self, (row, column): (usize, usize), (rows, columns): (usize, usize)) -> Place {
        let (last_row, last_column) = (row + rows - 1, column + columns - 1);
        // The corners nearest to the part and farthest from it.
        let (near, far) = match self {
            Self::Whole => return Place::Inside,
            Self::Lower => ((last_row, column), (row, last_column)),
            Self::Upper => ((row, last_column), (last_row, column)),
        };
        match (self.has(near.0, near.1), self.has(far.0, far.1)) {
            (true, true) => Place::Inside,
            (true, false) => Place::Across,
            (false, _) => Place::Outside,
        }
    }
}

/// Block sizes, chosen by measurement on Zen 4 (L1 32 KiB, L2 1 MiB): bytes of a packed block of A, which stays in L2; of
/// a packed block of B, which stays in L3; and of one line of either.
const A_BYTES: usize = 384 * 1024;
const B_BYTES: usize = 4 * 1024 * 1024;
const LINE_BYTES: usize = 2048;
/// An operand up to this size stays in L2 as it is: packing costs more than it brings.
const UNPACKED_BYTES: usize = 600 * 1024;
/// Up to this many multiplications, there is one block.
const ONE_BLOCK: usize = 112 * 112 * 112;

/// Computes `part` of C ← α·A·B + β·C.
pub(super) fn product<S: Simd>(
    simd: S,
    part: Part,
    alpha: S::Element,
    (a, b): (Matrix<'_, S::Element>, Matrix<'_, S::Element>),
    beta: S::Element,
    c: MatrixMut<'_, S::Element>,
) {
    debug_assert!((a.rows(), b.columns()) == (c.rows(), c.columns()) && a.columns() == b.rows());
    if c.columns() > 1 && (c.rows() == 1 || (c.row_stride() != 1 && c.column_stride() == 1)) {
        return product(
            simd,
            part.transposed(),
            alpha,
            (b.transposed(), a.transposed()),
            beta,
            c.transposed(),
        );
    }
    if c.rows() == 0 || c.columns() == 0 {
        return;
    }
    if alpha == S::Element::ZERO || a.columns() == 0 {
        return scale(part, beta, c);
    }
    if part == Part::Whole && c.columns() == 1 {
        matrix_vector(simd, alpha, (a, b), beta, c);
    } else if a.row_stride() == 1 && c.rows() * c.columns() * a.columns() <= ONE_BLOCK {
        one_block(simd, part, alpha, (a, b), beta, c);
    } else {
        blocks(simd, part, alpha, (a, b), beta, c);
    }
}

fn scale<T: Element>(part: Part, beta: T, mut c: MatrixMut<'_, T>) {
    for j in 0..c.columns() {
        for i in part.rows_of(j, 0, c.rows()) {
            let value = if beta == T::ZERO { T::ZERO } else { beta * c.at(i, j) };
            c.set(i, j, value);
        }
    }
}

/// The size of equal blocks of at most `most`, a multiple of `unit`, that together cover `size`.
fn even(size: usize, most: usize, unit: usize) -> usize {
    let blocks = size.div_ceil(most.max(unit));
    size.div_ceil(blocks).next_multiple_of(unit)
}

/// An operand as the micro-kernel reads it: the rows of A, or the columns of B, are its lines.
#[derive(Debug, Clone, Copy)]
struct Lines<T> {
    at: *const T,
    /// From one line to the next, inside the same panel.
    next: usize,
    /// From one step of k to the next.
    step: usize,
    /// From the first line to line i, divided by i; where lines are packed, i is a multiple of the panel's width.
    pitch: usize,
    packed: bool,
}

impl<T: Element> Lines<T> {
    fn packed(at: *const T, width: usize, k: usize) -> Self {
        Self { at, next: 1, step: width, pitch: k, packed: true }
    }

    /// The rows of `source` where they lie.
    fn of(source: Matrix<'_, T>) -> Self {
        let (next, step) = (source.row_stride(), source.column_stride());
        Self { at: source.as_ptr(), next, step, pitch: next, packed: false }
    }

    /// How many of the `left` remaining lines the next tile takes: `most`, or, where they are not packed, an even share.
    fn share(&self, left: usize, most: usize) -> usize {
        if self.packed || left <= most { most.min(left) } else { left.div_ceil(left.div_ceil(most)) }
    }
}

/// A product whose operands are read where they lie, without blocks; the rows of A stand side by side.
fn one_block<S: Simd>(
    simd: S,
    part: Part,
    alpha: S::Element,
    (a, b): (Matrix<'_, S::Element>, Matrix<'_, S::Element>),
    beta: S::Element,
    mut c: MatrixMut<'_, S::Element>,
) {
    let (size, k) = ((c.rows(), c.columns()), a.columns());
    let (c_strides, at) = ((c.row_stride(), c.column_stride()), (0, 0));
    let (a, b) = (Lines::of(a), Lines::of(b.transposed()));
    let block = Block { part, alpha, a, b, beta, c: c.as_mut_ptr(), c_strides, at, k };
    // SAFETY: the block is C, and its operands are those of its rows and columns.
    unsafe { block.run(simd, size) };
}

fn blocks<S: Simd>(
    simd: S,
    part: Part,
    alpha: S::Element,
    (a, b): (Matrix<'_, S::Element>, Matrix<'_, S::Element>),
    beta: S::Element,
    mut c: MatrixMut<'_, S::Element>,
) {
    let (m, n, k) = (c.rows(), c.columns(), a.columns());
    let bytes = size_of::<S::Element>();
    let (height, width) = (S::VECTORS * S::LANES, S::COLUMNS);
    let k_block = even(k, LINE_BYTES / bytes, 1);
    let m_block = even(m, A_BYTES / bytes / k_block, height);
    let n_block = even(n, B_BYTES / bytes / k_block, width);
    let pack_a = a.row_stride() != 1 || (n > 6 * width && m * k * bytes > UNPACKED_BYTES);
    let pack_b = m > 2 * height && n * k * bytes > UNPACKED_BYTES;
    let room = (if pack_a { m_block * k_block } else { 0 }, if pack_b { n_block * k_block } else { 0 });
    let c_strides = (c.row_stride(), c.column_stride());
    let c = c.as_mut_ptr();
    with_buffers(room, |a_room: *mut S::Element, b_room: *mut S::Element| {
        for left in (0..n).step_by(n_block) {
            let columns = n_block.min(n - left);
            for from in (0..k).step_by(k_block) {
                let depth = k_block.min(k - from);
                // The right operand is packed by its columns.
                let b = b.block(from, depth, left, columns).transposed();
                let b = if pack_b {
                    // SAFETY: the room is that of the largest block.
                    unsafe { pack(simd, b, width, b_room) };
                    Lines::packed(b_room, width, depth)
                } else {
                    Lines::of(b)
                };
                let beta = if from == 0 { beta } else { S::Element::ONE };
                for top in (0..m).step_by(m_block) {
                    let rows = m_block.min(m - top);
                    if part.place((top, left), (rows, columns)) == Place::Outside {
                        continue;
                    }
                    let a = a.block(top, rows, from, depth);
                    let a = if pack_a {
                        // SAFETY: the room is that of the largest block.
                        unsafe { pack(simd, a, height, a_room) };
                        Lines::packed(a_room, height, depth)
                    } else {
                        Lines::of(a)
                    };
                    let block = Block { part, alpha, a, b, beta, c, c_strides, at: (top, left), k: depth };
                    // SAFETY: the block lies inside C, and its operands are those of its rows and columns.
                    unsafe { block.run(simd, (rows, columns)) };
                }
            }
        }
    });
}

/// A block of C and the operands of it.
struct Block<T> {
    part: Part,
    alpha: T,
    a: Lines<T>,
    b: Lines<T>,
    beta: T,
    /// The first element of the whole C, not of the block.
    c: *mut T,
    c_strides: (usize, usize),
    /// The first row and column of the block.
    at: (usize, usize),
    k: usize,
}

impl<T: Element> Block<T> {
    /// # Safety
    /// The block of `rows` × `columns` lies inside C, and `a` and `b` have as many lines of length `k`.
    unsafe fn run<S: Simd<Element = T>>(&self, simd: S, (rows, columns): (usize, usize)) {
        let whole = (S::VECTORS * S::LANES, S::COLUMNS);
        let mut j = 0;
        while j < columns {
            let width = self.b.share(columns - j, whole.1);
            let mut i = 0;
            while i < rows {
                // Whole registers of rows, the last of which may be partly used.
                let registers = self.a.share((rows - i).div_ceil(S::LANES), S::VECTORS);
                let height = (registers * S::LANES).min(rows - i);
                // SAFETY: the tile lies inside the block.
                unsafe { self.tile(simd, (i, j), (height, width)) };
                i += height;
            }
            j += width;
        }
    }

    /// # Safety
    /// As for [`Self::run`]; the tile of `rows` × `columns` at (i, j) lies inside the block.
    #[inline(always)]
    unsafe fn tile<S: Simd<Element = T>>(
        &self,
        simd: S,
        (i, j): (usize, usize),
        (rows, columns): (usize, usize),
    ) {
        let place = self.part.place((self.at.0 + i, self.at.1 + j), (rows, columns));
        let (first, rows) = match place {
            Place::Outside => return,
            Place::Inside => (0, rows),
            Place::Across => {
                // Registers that the part has nothing of are left out.
                let used = self.part.rows_used((self.at.0 + i, self.at.1 + j), (rows, columns));
                let first = used.start - used.start % S::LANES;
                (first, used.end.next_multiple_of(S::LANES).min(rows) - first)
            }
        };
        let at = (self.at.0 + i + first, self.at.1 + j);
        let tile = Tile {
            rows,
            columns,
            k: self.k,
            // The rows of a register stand side by side, packed or not.
            a: self.a.at.wrapping_add(i * self.a.pitch + first),
            a_step: self.a.step,
            b: self.b.at.wrapping_add(j * self.b.pitch),
            b_step: self.b.step,
            b_next: self.b.next,
            alpha: self.alpha,
            beta: self.beta,
            c: self.c.wrapping_add(at.0 * self.c_strides.0 + at.1 * self.c_strides.1),
            c_next: self.c_strides.1,
        };
        let whole = (rows, columns) == (S::VECTORS * S::LANES, S::COLUMNS);
        // SAFETY: the tile lies inside the block, of which the caller says that it lies inside C.
        unsafe {
            if place == Place::Across || self.c_strides.0 != 1 {
                self.by_element(simd, &tile, at);
            } else if whole && self.a.packed && self.b.packed {
                tile::whole(simd, &tile);
            } else {
                tile::any(simd, &tile);
            }
        }
    }

    /// A tile through a buffer, for a C whose rows do not stand side by side or that is written in part.
    ///
    /// # Safety
    /// As for [`Self::run`]; the tile is the one of C at `at`.
    unsafe fn by_element<S: Simd<Element = T>>(&self, simd: S, tile: &Tile<T>, at: (usize, usize)) {
        let mut buffer = [T::ZERO; TILE_MAX];
        let c = buffer.as_mut_ptr();
        let sums = Tile { alpha: T::ONE, beta: T::ZERO, c, c_next: tile.rows, ..*tile };
        // SAFETY: any tile fits the buffer.
        unsafe { tile::any(simd, &sums) };
        simd.call(
            #[inline(always)]
            || {
                for j in 0..tile.columns {
                    for i in self.part.rows_of(at.1 + j, at.0, tile.rows) {
                        let to = tile.c.wrapping_add(i * self.c_strides.0 + j * self.c_strides.1);
                        let product = self.alpha * buffer[j * tile.rows + i];
                        // SAFETY: (i, j) is an element of the tile.
                        unsafe {
                            *to =
                                if self.beta == T::ZERO { product } else { self.beta.mul_add(*to, product) };
                        }
                    }
                }
            },
        );
    }
}
