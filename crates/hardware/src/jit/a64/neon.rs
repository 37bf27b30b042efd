//! NEON kernels.
//!
//! [`Form::Outer`]: a block of C, up to 8 rows of 3 vectors, stays in registers; each step of the sum loads a row of B
//! and broadcasts one element of each row of A. [`Form::Dot`]: up to 8 sums of vectors at once, added across at the end.
//! Blocks are as equal as they can be. The last lanes of a row are loaded and stored alone.
//!
//! x0 to x3 are A, B, C and the scale factors; x5 to x12 point into rows of A.

use super::encoder::{
    Code, Lane, SP, V, Width, X, add, add_immediate, clear, fadd, faddp, fmla, fmls, fmul, ld1_third,
    ld1r_then_add, ldp, ldp_d, ldr, mov, ret, st1_third, stp, stp_d, str, sub_immediate,
};
use crate::jit::key::{Form, KernelKey, Scale};

const A: X = X(0);
const B: X = X(1);
const C: X = X(2);
const SCALES: X = X(3);
const STEPS: X = X(13);
const B_ROW: X = X(14);
const C_ROW: X = X(15);
const SPARE: X = X(16);
const ROW_BLOCKS: X = X(17);
const COLUMN_BLOCKS: X = X(19);
const A_COLUMN_STRIDE: X = X(20);
const B_ROW_STRIDE: X = X(21);
const A_BLOCK: X = X(22);
const C_BLOCK: X = X(23);

const fn row_pointer(row: u32) -> X {
    X(5 + row)
}

/// Rows of a block.
const MAX_ROWS: u32 = 8;

/// Register `index` of those in use: v8 to v15, which belong to the caller, come last.
const fn register(index: u32) -> V {
    match index {
        0..8 => V(index),
        8..24 => V(index + 8),
        _ => V(index - 16),
    }
}

/// `total` as blocks of at most `most`, as equal as can be: so many of this size, then one of the rest.
fn blocks(total: u32, most: u32) -> (u32, u32, u32) {
    let size = total.div_ceil(total.div_ceil(most));
    (total / size, size, total % size)
}

/// What the code is generated from.
struct Kernel<'a> {
    key: &'a KernelKey,
    lane: Lane,
    code: Code,
}

pub(super) fn generate(key: &KernelKey) -> Vec<u32> {
    let mut kernel = Kernel { key, lane: Lane::of(key.element), code: Code::default() };
    kernel.save();
    match key.form {
        Form::Outer => kernel.outer(),
        Form::Dot => kernel.dot(),
    }
    kernel.restore();
    kernel.code.finish()
}

impl Kernel<'_> {
    fn save(&mut self) {
        self.code.emit(sub_immediate(SP, SP, 112));
        for pair in 0..4 {
            self.code.emit(stp_d(V(8 + 2 * pair), V(9 + 2 * pair), SP, 2 * pair));
        }
        for pair in 0..3 {
            self.code.emit(stp(X(19 + 2 * pair), X(20 + 2 * pair), SP, 8 + 2 * pair));
        }
    }

    fn restore(&mut self) {
        for pair in 0..4 {
            self.code.emit(ldp_d(V(8 + 2 * pair), V(9 + 2 * pair), SP, 2 * pair));
        }
        for pair in 0..3 {
            self.code.emit(ldp(X(19 + 2 * pair), X(20 + 2 * pair), SP, 8 + 2 * pair));
        }
        self.code.emit(add_immediate(SP, SP, 112));
        self.code.emit(ret());
    }

    fn lanes(&self) -> u32 {
        16 / self.lane.bytes()
    }

    /// Loads or stores `count` lanes at base + offset.
    fn load(&mut self, t: V, base: X, offset: u32, count: u32) {
        match (self.lane, count) {
            (Lane::S, 4) | (Lane::D, 2) => self.code.emit(ldr(Width::Q, t, base, offset)),
            (Lane::S, 1) => self.code.emit(ldr(Width::S, t, base, offset)),
            (Lane::S, 3) => {
                self.code.emit(add_immediate(SPARE, base, offset));
                self.code.emit(ldr(Width::D, t, SPARE, 0));
                self.code.emit(add_immediate(SPARE, SPARE, 8));
                self.code.emit(ld1_third(t, SPARE));
            }
            _ => {
                self.code.emit(add_immediate(SPARE, base, offset));
                self.code.emit(ldr(Width::D, t, SPARE, 0));
            }
        }
    }

    fn store(&mut self, t: V, base: X, offset: u32, count: u32) {
        match (self.lane, count) {
            (Lane::S, 4) | (Lane::D, 2) => self.code.emit(str(Width::Q, t, base, offset)),
            (Lane::S, 1) => self.code.emit(str(Width::S, t, base, offset)),
            (Lane::S, 3) => {
                self.code.emit(add_immediate(SPARE, base, offset));
                self.code.emit(str(Width::D, t, SPARE, 0));
                self.code.emit(add_immediate(SPARE, SPARE, 8));
                self.code.emit(st1_third(t, SPARE));
            }
            _ => {
                self.code.emit(add_immediate(SPARE, base, offset));
                self.code.emit(str(Width::D, t, SPARE, 0));
            }
        }
    }

    /// sum ± x·y: the sign of α is that of the sum where α is −1.
    fn multiply_add(&mut self, sum: V, x: V, y: V) {
        let minus = self.key.alpha == Scale::MinusOne;
        self.code.emit(if minus { fmls(self.lane, sum, x, y) } else { fmla(self.lane, sum, x, y) });
    }

    /// α and β into their registers, where they are not known.
    fn load_scales(&mut self, alpha: V, beta: V) {
        let size = self.lane.bytes();
        if self.key.alpha == Scale::General {
            self.code.emit(mov(SPARE, SCALES));
            self.code.emit(ld1r_then_add(self.lane, alpha, SPARE, X(31)));
        }
        if self.key.beta == Scale::General {
            self.code.emit(add_immediate(SPARE, SCALES, size));
            self.code.emit(ld1r_then_add(self.lane, beta, SPARE, X(31)));
        }
    }

    /// Turns a sum into α·sum + β·C and stores `count` lanes of it.
    fn write(&mut self, sum: V, (alpha, beta, old): (V, V, V), base: X, offset: u32, count: u32) {
        if self.key.alpha == Scale::General {
            self.code.emit(fmul(self.lane, sum, sum, alpha));
        }
        if self.key.beta != Scale::Zero {
            self.load(old, base, offset, count);
            let word = match self.key.beta {
                Scale::One => fadd(self.lane, sum, sum, old),
                _ => fmla(self.lane, sum, old, beta),
            };
            self.code.emit(word);
        }
        self.store(sum, base, offset, count);
    }

    fn outer(&mut self) {
        let KernelKey { m, n, a_row, a_column, b_row, c_row, .. } = *self.key;
        let size = self.lane.bytes();
        self.code.load(A_COLUMN_STRIDE, a_column * size);
        self.code.load(B_ROW_STRIDE, b_row * size);
        // Few rows leave registers for longer ones.
        let most = match m {
            1 | 2 => 8,
            3 => 6,
            4 => 5,
            _ => 3,
        };
        let lanes = self.lanes();
        let vectors = n.div_ceil(lanes);
        let width = lanes * vectors.div_ceil(vectors.div_ceil(most));
        for (count, columns) in [(n / width, width), (1, n % width)] {
            if columns == 0 || count == 0 {
                continue;
            }
            let column_loop = self.code.begin(COLUMN_BLOCKS, count);
            self.code.emit(mov(A_BLOCK, A));
            self.code.emit(mov(C_BLOCK, C));
            let (full, rows, rest) = blocks(m, MAX_ROWS);
            for (count, rows) in [(full, rows), (1, rest)] {
                if rows == 0 {
                    continue;
                }
                let row_loop = self.code.begin(ROW_BLOCKS, count);
                self.outer_block(rows, columns);
                self.code.add(A_BLOCK, A_BLOCK, rows * a_row * size, SPARE);
                self.code.add(C_BLOCK, C_BLOCK, rows * c_row * size, SPARE);
                self.code.end(row_loop);
            }
            self.code.emit(add_immediate(B, B, columns * size));
            self.code.emit(add_immediate(C, C, columns * size));
            self.code.end(column_loop);
        }
    }

    /// Pointers to `rows` rows from `first` on.
    fn point_at_rows(&mut self, first: X, rows: u32) {
        let step = self.key.a_row * self.lane.bytes();
        self.code.emit(mov(row_pointer(0), first));
        for row in 1..rows {
            self.code.add(row_pointer(row), row_pointer(row - 1), step, SPARE);
        }
    }

    /// `rows` × `columns` of C, from A_BLOCK, B and C_BLOCK on.
    fn outer_block(&mut self, rows: u32, columns: u32) {
        let (size, lanes) = (self.lane.bytes(), self.lanes());
        let vectors = columns.div_ceil(lanes);
        let lanes_of = |vector: u32| lanes.min(columns - vector * lanes);
        let sum = |row: u32, vector: u32| register(row * vectors + vector);
        let b = |vector: u32| register(rows * vectors + vector);
        let used = (rows + 1) * vectors;
        let a = |row: u32| register(used + row % (32 - used));
        self.point_at_rows(A_BLOCK, rows);
        self.code.emit(mov(B_ROW, B));
        for register_index in 0..rows * vectors {
            self.code.emit(clear(register(register_index)));
        }
        let steps = self.code.begin(STEPS, self.key.k);
        for vector in 0..vectors {
            self.load(b(vector), B_ROW, 16 * vector, lanes_of(vector));
        }
        for row in 0..rows {
            self.code.emit(ld1r_then_add(self.lane, a(row), row_pointer(row), A_COLUMN_STRIDE));
            for vector in 0..vectors {
                self.multiply_add(sum(row, vector), b(vector), a(row));
            }
        }
        self.code.emit(add(B_ROW, B_ROW, B_ROW_STRIDE, 0));
        self.code.end(steps);
        let spare = (register(used), register(used + 1), register(used + 2));
        self.load_scales(spare.0, spare.1);
        self.code.emit(mov(C_ROW, C_BLOCK));
        for row in 0..rows {
            for vector in 0..vectors {
                self.write(sum(row, vector), spare, C_ROW, 16 * vector, lanes_of(vector));
            }
            if row + 1 < rows {
                self.code.add(C_ROW, C_ROW, self.key.c_row * size, SPARE);
            }
        }
    }

    fn dot(&mut self) {
        let KernelKey { m, a_row, .. } = *self.key;
        let size = self.lane.bytes();
        self.code.emit(mov(A_BLOCK, A));
        let (full, rows, rest) = blocks(m, MAX_ROWS);
        for (count, rows) in [(full, rows), (1, rest)] {
            if rows == 0 {
                continue;
            }
            let row_loop = self.code.begin(ROW_BLOCKS, count);
            self.dot_block(rows);
            self.code.add(A_BLOCK, A_BLOCK, rows * a_row * size, SPARE);
            self.code.emit(add_immediate(C, C, rows * size));
            self.code.end(row_loop);
        }
    }

    /// `rows` elements of y, from A_BLOCK and C on. B is the vector x.
    fn dot_block(&mut self, rows: u32) {
        let (lanes, k) = (self.lanes(), self.key.k);
        // Few rows get several sums each, so that additions overlap.
        let sums = (MAX_ROWS / rows).min(4);
        let sum = |row: u32, which: u32| register(row * sums + which);
        let used = rows * sums;
        let (x, a) = (|which: u32| register(used + which), register(used + sums));
        self.point_at_rows(A_BLOCK, rows);
        self.code.emit(mov(B_ROW, B));
        for index in 0..used {
            self.code.emit(clear(register(index)));
        }
        let whole = k / (lanes * sums);
        if whole > 0 {
            let steps = self.code.begin(STEPS, whole);
            for which in 0..sums {
                self.load(x(which), B_ROW, 16 * which, lanes);
            }
            for row in 0..rows {
                for which in 0..sums {
                    self.load(a, row_pointer(row), 16 * which, lanes);
                    self.multiply_add(sum(row, which), x(which), a);
                }
                self.code.emit(add_immediate(row_pointer(row), row_pointer(row), 16 * sums));
            }
            self.code.emit(add_immediate(B_ROW, B_ROW, 16 * sums));
            self.code.end(steps);
        }
        let rest = k % (lanes * sums);
        for which in 0..rest.div_ceil(lanes) {
            let count = lanes.min(rest - which * lanes);
            self.load(x(which), B_ROW, 16 * which, count);
            for row in 0..rows {
                self.load(a, row_pointer(row), 16 * which, count);
                self.multiply_add(sum(row, which), x(which), a);
            }
        }
        let spare = (register(used), register(used + 1), register(used + 2));
        self.load_scales(spare.0, spare.1);
        for row in 0..rows {
            self.add_across(sum(row, 0), sums, |which| sum(row, which));
            self.write(sum(row, 0), spare, C, row * self.lane.bytes(), 1);
        }
    }

    /// The first lane of `total` ← all lanes of all sums.
    fn add_across(&mut self, total: V, sums: u32, sum: impl Fn(u32) -> V) {
        for which in 1..sums {
            self.code.emit(fadd(self.lane, total, total, sum(which)));
        }
        for _ in 0..self.lanes().ilog2() {
            self.code.emit(faddp(self.lane, total, total, total));
        }
    }
}
