//! SME kernels: outer products of columns of A and rows of B, added up in ZA tiles.
//!
//! Up to four tiles stand two by two, or in one row or column where C is not wider or higher than a vector. Predicates
//! cut the edges, at any vector length: a longer or shorter one than the code was made for costs time, not correctness.
//! Where the elements of a column of A do not stand side by side, A is first copied to scratch memory as Aᵀ: through a
//! tile (rows in, columns out) where those of its rows do, element by element elsewhere.
//!
//! x0 to x4 are A, B, C, the scale factors and the scratch memory. Everything vectorial lies between SMSTART and SMSTOP.

use super::encoder::{
    Code, Condition, Label, Lane, P, SP, Slice, V, Width, X, add, add_immediate, cmp, count, csel, fmopa,
    fmops, ld1, ld1r, ldp_d, ldr, madd, mov, mova_from, mova_to, movz, ptrue, ret, smstart, smstop, st1,
    stp_d, str, sub, sub_immediate, sve_fadd, sve_fmla, sve_fmul, whilelo, zero_za,
};
use crate::jit::key::{KernelKey, Scale};

const A: X = X(0);
const B: X = X(1);
const C: X = X(2);
const SCALES: X = X(3);
const SCRATCH: X = X(4);
const ROWS: X = X(5);
const COLUMNS: X = X(6);
const A_STEP: X = X(7);
const B_STEP: X = X(8);
const C_STEP: X = X(9);
const LANES: X = X(10);
const STEPS: X = X(11);
/// Selects a slice of a tile.
const SLICE: X = X(12);
const ROW: X = X(13);
const COLUMN: X = X(14);
const FIRST: X = X(15);
const SECOND: X = X(16);
const SPARE: X = X(17);

const ALL: P = P(0);
const ALPHA: V = V(30);
const BETA: V = V(31);

/// Tiles side by side.
#[derive(Clone, Copy)]
struct Grid {
    rows: u32,
    columns: u32,
}

impl Grid {
    /// The predicate of the rows of tile row `row`.
    fn row(self, row: u32) -> P {
        P(1 + row)
    }

    fn column(self, column: u32) -> P {
        P(1 + self.rows + column)
    }

    fn tile(self, row: u32, column: u32) -> u32 {
        row * self.columns + column
    }
}

struct Kernel<'a> {
    key: &'a KernelKey,
    lane: Lane,
    grid: Grid,
    code: Code,
}

/// Bytes of scratch memory for Aᵀ.
pub(super) fn scratch(key: &KernelKey) -> usize {
    if key.a_row == 1 { 0 } else { key.m as usize * key.k as usize * key.element.bytes() }
}

/// The code, of which tiles stand as they should for vectors of this length.
pub(super) fn generate(key: &KernelKey, vector_bytes: usize) -> Vec<u32> {
    let lane = Lane::of(key.element);
    let lanes = u32::try_from(vector_bytes).unwrap_or(16) / lane.bytes();
    let grid = match (key.m <= lanes, key.n <= lanes) {
        (true, true) => Grid { rows: 1, columns: 1 },
        (true, false) => Grid { rows: 1, columns: if key.n <= 2 * lanes { 2 } else { 4 } },
        (false, true) => Grid { rows: if key.m <= 2 * lanes { 2 } else { 4 }, columns: 1 },
        (false, false) => Grid { rows: 2, columns: 2 },
    };
    let mut kernel = Kernel { key, lane, grid, code: Code::default() };
    kernel.write();
    kernel.code.finish()
}

impl Kernel<'_> {
    fn write(&mut self) {
        let KernelKey { m, n, a_row, a_column, b_row, c_row, .. } = *self.key;
        let size = self.lane.bytes();
        self.code.emit(sub_immediate(SP, SP, 64));
        for pair in 0..4 {
            self.code.emit(stp_d(V(8 + 2 * pair), V(9 + 2 * pair), SP, 2 * pair));
        }
        self.code.load(ROWS, m);
        self.code.load(COLUMNS, n);
        self.code.load(B_STEP, b_row * size);
        self.code.load(C_STEP, c_row * size);
        let by_rows = a_row != 1 && a_column == 1;
        if a_row != 1 && !by_rows {
            self.copy_elements();
        }
        self.code.emit(smstart());
        self.code.emit(ptrue(self.lane, ALL));
        self.code.emit(count(self.lane, LANES));
        if by_rows {
            self.transpose();
        }
        if a_row == 1 {
            self.code.load(A_STEP, a_column * size);
        } else {
            self.code.load(A_STEP, m * size);
            self.code.emit(mov(A, SCRATCH));
        }
        if self.key.alpha == Scale::General {
            self.code.emit(ld1r(self.lane, ALPHA, ALL, SCALES, 0));
        }
        if self.key.beta == Scale::General {
            self.code.emit(ld1r(self.lane, BETA, ALL, SCALES, 1));
        }
        self.blocks();
        self.code.emit(smstop());
        for pair in 0..4 {
            self.code.emit(ldp_d(V(8 + 2 * pair), V(9 + 2 * pair), SP, 2 * pair));
        }
        self.code.emit(add_immediate(SP, SP, 64));
        self.code.emit(ret());
    }

    /// Ends a loop over `index` below `limit` in steps of `vectors` vectors.
    fn next(&mut self, index: X, limit: X, vectors: u32, start: Label) {
        self.code.emit(add(index, index, LANES, vectors.ilog2()));
        self.code.emit(cmp(index, limit));
        self.code.branch(Condition::Lower, start);
    }

    /// Scratch ← Aᵀ, element by element, before streaming mode.
    fn copy_elements(&mut self) {
        let KernelKey { m, k, a_row, a_column, .. } = *self.key;
        let (size, width) = match self.lane {
            Lane::S => (4, Width::S),
            Lane::D => (8, Width::D),
        };
        self.code.load(A_STEP, a_column * size);
        self.code.load(LANES, m * size);
        self.code.emit(mov(FIRST, SCRATCH));
        let rows = self.code.begin(ROW, m);
        self.code.emit(mov(SECOND, FIRST));
        self.code.emit(mov(COLUMN, A));
        let steps = self.code.begin(STEPS, k);
        self.code.emit(ldr(width, V(0), COLUMN, 0));
        self.code.emit(str(width, V(0), SECOND, 0));
        self.code.emit(add(COLUMN, COLUMN, A_STEP, 0));
        self.code.emit(add(SECOND, SECOND, LANES, 0));
        self.code.end(steps);
        self.code.emit(add_immediate(FIRST, FIRST, size));
        self.code.add(A, A, a_row * size, SPARE);
        self.code.end(rows);
    }

    /// Scratch ← Aᵀ, a square of a tile at a time.
    fn transpose(&mut self) {
        let KernelKey { m, k, a_row, .. } = *self.key;
        let size = self.lane.bytes();
        let (rows, steps) = (P(1), P(2));
        self.code.load(A_STEP, a_row * size);
        self.code.load(STEPS, k);
        self.code.emit(movz(ROW, 0, 0));
        let row_loop = self.code.label();
        self.code.emit(whilelo(self.lane, rows, ROW, ROWS));
        self.code.emit(movz(COLUMN, 0, 0));
        let step_loop = self.code.label();
        self.code.emit(whilelo(self.lane, steps, COLUMN, STEPS));
        // Rows in, as many as there are …
        self.code.emit(madd(FIRST, ROW, A_STEP, A));
        self.code.emit(add(FIRST, FIRST, COLUMN, self.lane.shift()));
        self.limit(ROWS, ROW);
        let slice = self.code.label();
        self.code.emit(ld1(self.lane, V(0), steps, FIRST, 0));
        self.code.emit(mova_to(self.lane, 0, Slice::Row, ALL, V(0)));
        self.code.emit(add(FIRST, FIRST, A_STEP, 0));
        self.next_slice(slice);
        // … and columns out.
        self.code.load(FIRST, m * size);
        self.code.emit(madd(FIRST, COLUMN, FIRST, SCRATCH));
        self.code.emit(add(FIRST, FIRST, ROW, self.lane.shift()));
        self.limit(STEPS, COLUMN);
        let slice = self.code.label();
        self.code.emit(mova_from(self.lane, V(0), ALL, 0, Slice::Column));
        self.code.emit(st1(self.lane, V(0), rows, FIRST, 0));
        self.code.add(FIRST, FIRST, m * size, SPARE);
        self.next_slice(slice);
        self.next(COLUMN, STEPS, 1, step_loop);
        self.next(ROW, ROWS, 1, row_loop);
    }

    /// SECOND ← the slices in use of a tile that begins at `from` and ends with `total`; SLICE ← 0.
    fn limit(&mut self, total: X, from: X) {
        self.code.emit(sub(SECOND, total, from));
        self.code.emit(cmp(SECOND, LANES));
        self.code.emit(csel(SECOND, SECOND, LANES, Condition::Lower));
        self.code.emit(movz(SLICE, 0, 0));
    }

    fn next_slice(&mut self, start: Label) {
        self.code.emit(add_immediate(SLICE, SLICE, 1));
        self.code.emit(cmp(SLICE, SECOND));
        self.code.branch(Condition::Lower, start);
    }

    /// The whole of C, a grid of tiles at a time.
    fn blocks(&mut self) {
        let Grid { rows, columns } = self.grid;
        self.code.emit(movz(ROW, 0, 0));
        let row_loop = self.code.label();
        self.predicates(ROW, ROWS, rows, 0);
        self.code.emit(movz(COLUMN, 0, 0));
        let column_loop = self.code.label();
        self.predicates(COLUMN, COLUMNS, columns, rows);
        self.sum();
        self.write_tiles();
        self.next(COLUMN, COLUMNS, columns, column_loop);
        self.next(ROW, ROWS, rows, row_loop);
    }

    /// Predicates of `vectors` vectors from `index` on, after the first `before`.
    fn predicates(&mut self, index: X, limit: X, vectors: u32, before: u32) {
        self.code.emit(whilelo(self.lane, P(1 + before), index, limit));
        for vector in 1..vectors {
            let from = if vector == 1 { index } else { SPARE };
            self.code.emit(add(SPARE, from, LANES, 0));
            self.code.emit(whilelo(self.lane, P(1 + before + vector), SPARE, limit));
        }
    }

    /// The tiles ← the sum of outer products.
    fn sum(&mut self) {
        let Grid { rows, columns } = self.grid;
        self.code.emit(add(FIRST, A, ROW, self.lane.shift()));
        self.code.emit(add(SECOND, B, COLUMN, self.lane.shift()));
        self.code.emit(zero_za());
        let steps = self.code.begin(STEPS, self.key.k);
        for row in 0..rows {
            self.code.emit(ld1(self.lane, V(row), self.grid.row(row), FIRST, row));
        }
        for column in 0..columns {
            self.code.emit(ld1(self.lane, V(4 + column), self.grid.column(column), SECOND, column));
        }
        self.code.emit(add(FIRST, FIRST, A_STEP, 0));
        self.code.emit(add(SECOND, SECOND, B_STEP, 0));
        for row in 0..rows {
            for column in 0..columns {
                let outer = if self.key.alpha == Scale::MinusOne { fmops } else { fmopa };
                let predicates = (self.grid.row(row), self.grid.column(column));
                self.code.emit(outer(
                    self.lane,
                    self.grid.tile(row, column),
                    predicates,
                    V(row),
                    V(4 + column),
                ));
            }
        }
        self.code.end(steps);
    }

    /// C ← α·tiles + β·C, a row at a time.
    fn write_tiles(&mut self) {
        let Grid { rows, columns } = self.grid;
        self.code.emit(madd(FIRST, ROW, C_STEP, C));
        self.code.emit(add(FIRST, FIRST, COLUMN, self.lane.shift()));
        // SPARE is the first row of a row of tiles.
        self.code.emit(mov(SPARE, ROW));
        let mut below = Vec::new();
        for row in 0..rows {
            if row > 0 {
                self.code.emit(add(SPARE, SPARE, LANES, 0));
                self.code.emit(cmp(SPARE, ROWS));
                below.push(self.code.skip(Condition::HigherOrSame));
            }
            self.limit(ROWS, SPARE);
            let slice = self.code.label();
            for column in 0..columns {
                self.write_slice(self.grid.tile(row, column), column);
            }
            self.code.emit(add(FIRST, FIRST, C_STEP, 0));
            self.next_slice(slice);
        }
        for skip in below {
            self.code.land(skip);
        }
    }

    fn write_slice(&mut self, tile: u32, column: u32) {
        let (lane, predicate) = (self.lane, self.grid.column(column));
        let (sum, old) = (V(2 * column), V(2 * column + 1));
        self.code.emit(mova_from(lane, sum, ALL, tile, Slice::Row));
        if self.key.alpha == Scale::General {
            self.code.emit(sve_fmul(lane, sum, sum, ALPHA));
        }
        if self.key.beta != Scale::Zero {
            self.code.emit(ld1(lane, old, predicate, FIRST, column));
            self.code.emit(match self.key.beta {
                Scale::One => sve_fadd(lane, sum, sum, old),
                _ => sve_fmla(lane, sum, ALL, old, BETA),
            });
        }
        self.code.emit(st1(lane, sum, predicate, FIRST, column));
    }
}
