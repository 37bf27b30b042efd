//! C ← α·A·B + β·C in blocks that fit the caches (Goto & van de Geijn, Anatomy of High-Performance Matrix
//! Multiplication, 2008; the loop order of BLIS), for the whole of C or one triangle of it.
//!
//! Tiles have their rows side by side; a C by rows is computed as Cᵀ = Bᵀ·Aᵀ. Small operands are read where they lie.

#![allow(unsafe_code)]

use super::pack::{pack, with_buffers};
use super::simd::Simd;
use super::tile::{self, TILE_MAX, Tile};
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

/// Bytes of a block of A, which stays in L2, and of B, which stays in L3, and the length of the sums of one block, such
/// that a panel of B stays in L1. Chosen by measurement on Zen 4 (32 KiB, 1 MiB).
const A_BYTES: usize = 384 * 1024;
const B_BYTES: usize = 4 * 1024 * 1024;
const K_BYTES: usize = 2048;

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
    if c.row_stride() != 1 && c.column_stride() == 1 {
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
    blocks(simd, part, alpha, (a, b), beta, c);
}

fn scale<T: Element>(part: Part, beta: T, mut c: MatrixMut<'_, T>) {
    for j in 0..c.columns() {
        for i in (0..c.rows()).filter(|&i| part.has(i, j)) {
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

/// An operand as the micro-kernel reads it.
#[derive(Debug, Clone, Copy)]
struct Panels<T> {
    at: *const T,
    /// From one panel to the next.
    panel: usize,
    /// From one step of k to the next.
    step: usize,
    /// From one line of a panel to the next.
    next: usize,
}

impl<T: Element> Panels<T> {
    fn packed(at: *const T, width: usize, k: usize) -> Self {
        Self { at, panel: width * k, step: width, next: 1 }
    }

    /// `source` where it lies, its rows in panels of `width`.
    fn of(source: Matrix<'_, T>, width: usize) -> Self {
        let (next, step) = (source.row_stride(), source.column_stride());
        Self { at: source.as_ptr(), panel: width * next, step, next }
    }
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
    let k_block = even(k, K_BYTES / bytes, 1);
    let m_block = even(m, A_BYTES / bytes / k_block, height);
    let n_block = even(n, B_BYTES / bytes / k_block, width);
    let pack_a = a.row_stride() != 1 || (n > 6 * width && m * k * bytes > 24 * 1024);
    let pack_b = m > 2 * height && n * k * bytes > 24 * 1024;
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
                    Panels::packed(b_room, width, depth)
                } else {
                    Panels::of(b, width)
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
                        Panels::packed(a_room, height, depth)
                    } else {
                        Panels::of(a, height)
                    };
                    let block = Block { part, alpha, a, b, beta, c, c_strides, at: (top, left), k: depth };
                    // SAFETY: the block lies inside C, and its operands are those of its rows and columns.
                    unsafe { block.run(simd, (rows, columns), pack_a && pack_b) };
                }
            }
        }
    });
}

/// A block of C and the operands of it.
struct Block<T> {
    part: Part,
    alpha: T,
    a: Panels<T>,
    b: Panels<T>,
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
    unsafe fn run<S: Simd<Element = T>>(&self, simd: S, (rows, columns): (usize, usize), packed: bool) {
        let (height, width) = (S::VECTORS * S::LANES, S::COLUMNS);
        for (across, j) in (0..columns).step_by(width).enumerate() {
            for (down, i) in (0..rows).step_by(height).enumerate() {
                let at = (self.at.0 + i, self.at.1 + j);
                let size = (height.min(rows - i), width.min(columns - j));
                let place = self.part.place(at, size);
                if place == Place::Outside {
                    continue;
                }
                let tile = Tile {
                    rows: size.0,
                    columns: size.1,
                    k: self.k,
                    a: self.a.at.wrapping_add(down * self.a.panel),
                    a_step: self.a.step,
                    b: self.b.at.wrapping_add(across * self.b.panel),
                    b_step: self.b.step,
                    b_next: self.b.next,
                    alpha: self.alpha,
                    beta: self.beta,
                    c: self.c.wrapping_add(at.0 * self.c_strides.0 + at.1 * self.c_strides.1),
                    c_next: self.c_strides.1,
                };
                // SAFETY: the tile lies inside the block, of which the caller says that it lies inside C.
                unsafe {
                    if place == Place::Across || self.c_strides.0 != 1 {
                        self.by_element(simd, &tile, at);
                    } else if packed && size == (height, width) {
                        tile::whole(simd, &tile);
                    } else {
                        tile::any(simd, &tile);
                    }
                }
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
        for j in 0..tile.columns {
            for i in (0..tile.rows).filter(|i| self.part.has(at.0 + i, at.1 + j)) {
                let to = tile.c.wrapping_add(i * self.c_strides.0 + j * self.c_strides.1);
                let product = self.alpha * buffer[j * tile.rows + i];
                // SAFETY: (i, j) is an element of the tile.
                unsafe {
                    *to = if self.beta == T::ZERO { product } else { self.beta.mul_add(*to, product) };
                }
            }
        }
    }
}
