//! C ← α·A·B + β·C where rows of B and C are contiguous: blocks of C stay in registers while one element of A after the
//! other is multiplied with a few vectors of a row of B.
//!
//! Columns are the outer loop and rows the inner one, so that a panel of B serves all rows from the first-level cache;
//! a panel that the cache would not hold is copied to scratch memory first. Loops are written as loops; only the steps
//! along k are unrolled, within a budget.

use super::encode::{
    Action, Gpr, Memory, Operand, R8, R9, R10, R11, RAX, RBX, RCX, RDI, RDX, RSI, Vector, Width,
};
use super::piece::{Emitter, Piece, has_masks, masked, pieces, widest};
use crate::jit::key::{Isa, KernelKey, Scale};
use crate::jit::{Generated, MAX_SCRATCH};

/// Vectors side by side in a block, at most.
const MAX_VECTORS: usize = 8;
/// The mask register: k1 with AVX-512, vector 15 with AVX2.
fn mask_register(isa: Isa) -> u8 {
    if has_masks(isa) { 1 } else { 15 }
}

/// How a block of C is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// One row: an element of A in all lanes times vectors of B in memory.
    Row,
    /// One vector of B times elements of A in memory (AVX-512 only).
    Column,
    /// Vectors of B in registers times an element of A in all lanes.
    Block,
}

/// A block of C: `rows` × `pieces`.
#[derive(Debug, Clone)]
struct Block<'a> {
    rows: usize,
    pieces: &'a [Piece],
    isa: Isa,
    k: usize,
    /// Rows of A that the first-level cache holds.
    rows_held: usize,
}

/// Lines at distances of `stride` bytes that a first-level cache of 64 sets of 8 lines holds, with a quarter of it left
/// for other operands: the stride's largest power of two says how many sets they spread over.
fn lines_held(stride: usize) -> usize {
    6 * (64 >> (stride.trailing_zeros().clamp(6, 12) - 6))
}

impl<'a> Block<'a> {
    fn of(key: &KernelKey, rows: usize, pieces: &'a [Piece]) -> Self {
        let stride = key.a_row as usize * key.element.bytes();
        let rows_held = if key.a_column == 1 { lines_held(stride) } else { usize::MAX };
        Self { rows, pieces, isa: key.isa, k: key.k as usize, rows_held }
    }
}

impl Block<'_> {
    fn method(&self) -> Method {
        match (self.rows, self.pieces.len()) {
            (1, _) => Method::Row,
            (_, 1) if has_masks(self.isa) => Method::Column,
            _ => Method::Block,
        }
    }

    fn sums(&self) -> usize {
        self.rows * self.pieces.len()
    }

    /// Registers for sums: what operands and the mask leave.
    fn room(&self) -> usize {
        let all = match self.isa {
            // Measured on Zen 4: small blocks in the short encodings of the first 16 registers beat large ones.
            Isa::Avx512Halves if self.pieces[0].width < Width::Z && self.method() == Method::Block => 16,
            isa if has_masks(isa) => 32,
            _ => 16 - usize::from(masked(self.pieces).is_some()),
        };
        let operands = if self.method() == Method::Block { self.pieces.len() + 1 } else { 2 };
        all - operands
    }

    /// Independent sums per element, so that one addition need not wait for the one before.
    fn sets(&self) -> usize {
        let wanted = if self.pieces[0].width == Width::Z { 6 } else { 8_usize };
        wanted.div_ceil(self.sums()).min(self.room() / self.sums()).min(self.k / 4).max(1)
    }

    /// Vector halves that are multiplied in one step along k.
    fn halves(&self) -> usize {
        self.rows * halves(self.pieces)
    }

    /// Estimated time in half cycles of a core that multiplies or loads 512 bits per cycle and waits four cycles for a sum.
    fn cost(&self) -> usize {
        let of_a = if self.method() == Method::Column { self.rows * self.pieces.len() } else { self.rows };
        // Loads never quite reach their peak rate next to multiplications.
        let loads = (halves(self.pieces) + of_a) * 5 / 4;
        let step = self.halves().max(loads).max(8_usize.div_ceil(self.sets()));
        // A panel of B that leaves no room for A in a first-level cache of 32 KiB is read from the second level.
        let panel = self.k * panel_row(self.pieces) as usize;
        let far = if panel > 20 << 10 { 2 * halves(self.pieces) * self.k } else { 0 };
        let crowded = if self.rows > self.rows_held { 2 * self.rows * self.k } else { 0 };
        step * self.k + far + crowded + 3 * self.halves() + 20
    }
}

fn halves(pieces: &[Piece]) -> usize {
    pieces.iter().map(|piece| if piece.width == Width::Z { 2 } else { 1 }).sum()
}

/// Blocks of equal shape, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    count: usize,
    each: usize,
}

/// `total` in as few parts of at most `most` as possible, of two sizes that differ by one.
fn evenly(total: usize, most: usize) -> Vec<Run> {
    let count = total.div_ceil(most);
    let (each, more) = (total / count, total % count);
    let runs = [Run { count: more, each: each + 1 }, Run { count: count - more, each }];
    runs.into_iter().filter(|run| run.count > 0).collect()
}

/// How many rows a block of these vectors can have.
fn most_rows(pieces: &[Piece], isa: Isa) -> usize {
    (1..=32)
        .take_while(|&rows| {
            let block = Block { rows, pieces, isa, k: 1, rows_held: 0 };
            block.sums() <= block.room()
        })
        .last()
        .unwrap_or(1)
}

/// Columns of C in blocks: `count` times `vectors` whole ones, then what is left.
#[derive(Debug, Clone)]
struct Columns {
    count: usize,
    pieces: Vec<Piece>,
    rows: Vec<Run>,
}

fn columns_of(key: &KernelKey, all: &[Piece], vectors: usize) -> Vec<Columns> {
    let (m, isa) = (key.m as usize, key.isa);
    let columns = |count, part: &[Piece]| {
        let first = part[0].offset;
        let pieces: Vec<_> =
            part.iter().map(|piece| Piece { offset: piece.offset - first, ..*piece }).collect();
        let rows = evenly(m, most_rows(&pieces, isa));
        Columns { count, pieces, rows }
    };
    let before = (all.len() - 1) / vectors;
    let mut parts = Vec::new();
    if before > 0 {
        parts.push(columns(before, &all[..vectors]));
    }
    parts.push(columns(1, &all[before * vectors..]));
    parts
}

fn cost_of(key: &KernelKey, columns: &[Columns]) -> usize {
    let rows = |columns: &Columns| -> usize {
        let cost = |run: &Run| {
            let block = Block::of(key, run.each, &columns.pieces);
            run.count * block.cost()
        };
        columns.rows.iter().map(cost).sum()
    };
    columns.iter().map(|part| part.count * rows(part)).sum()
}

/// The cheapest division into blocks by the estimate.
fn plan(key: &KernelKey) -> Vec<Columns> {
    let n = key.n as usize;
    let all = pieces(n, key.element, widest(key.isa, n, key.element), mask_register(key.isa));
    let most = if has_masks(key.isa) { MAX_VECTORS } else { 6 };
    (1..=all.len().min(most))
        .map(|vectors| columns_of(key, &all, vectors))
        .min_by_key(|columns| cost_of(key, columns))
        .unwrap_or_default()
}

/// Strides in bytes.
struct Generator<'a> {
    out: Emitter,
    key: &'a KernelKey,
    a_row: i32,
    a_column: i32,
    b_row: i32,
    c_row: i32,
    budget: usize,
    scratch: usize,
}

pub(super) fn generate(key: &KernelKey, budget: usize) -> Generated {
    let out = Emitter::new(key.element, key.isa);
    let bytes = |elements: u32| elements as i32 * out.size;
    let (a_row, a_column) = (bytes(key.a_row), bytes(key.a_column));
    let (b_row, c_row) = (bytes(key.b_row), bytes(key.c_row));
    let mut generator = Generator { out, key, a_row, a_column, b_row, c_row, budget, scratch: 0 };
    generator.kernel(&plan(key));
    Generated { code: generator.out.asm.finish(), scratch: generator.scratch }
}

impl Generator<'_> {
    fn kernel(&mut self, parts: &[Columns]) {
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            if part.count == 1 {
                self.columns(part, last);
                continue;
            }
            let asm = &mut self.out.asm;
            asm.push(RBX);
            asm.set(RBX, part.count as u32);
            let start = asm.here();
            self.columns(part, false);
            self.out.asm.repeat(RBX, start);
            self.out.asm.pop(RBX);
        }
    }

    /// All rows of one block of columns; unless it is the last, ends with B and C at the next one.
    fn columns(&mut self, part: &Columns, last: bool) {
        // Only now: blocks without a mask may use its register.
        if let Some(piece) = masked(&part.pieces) {
            self.out.prepare_mask(piece);
        }
        let packed = self.worth_packing(part);
        if packed {
            self.pack(&part.pieces);
        }
        let (b, b_row) = if packed { (R8, panel_row(&part.pieces)) } else { (RSI, self.b_row) };
        let mut done = 0;
        for (index, run) in part.rows.iter().enumerate() {
            let more = index + 1 < part.rows.len() || !last;
            let block = Block::of(self.key, run.each, &part.pieces);
            let rows = run.each as i32;
            if run.count > 1 {
                self.out.asm.set(R11, run.count as u32);
            }
            let start = self.out.asm.here();
            self.block(&block, b, b_row);
            if run.count > 1 || more {
                self.out.asm.add(RDI, rows * self.a_row);
                self.out.asm.add(RDX, rows * self.c_row);
                done += rows * run.count as i32;
            }
            if run.count > 1 {
                self.out.asm.repeat(R11, start);
            }
        }
        if !last {
            let width: i32 = part.pieces.iter().map(|piece| piece.lanes as i32 * self.out.size).sum();
            self.out.asm.add(RDI, -done * self.a_row);
            self.out.asm.add(RSI, width);
            self.out.asm.add(RDX, width - done * self.c_row);
        }
    }

    /// Whether the first-level cache would not keep a panel of B that is read often: then a copy of it pays.
    fn worth_packing(&self, part: &Columns) -> bool {
        let blocks: usize = part.rows.iter().map(|run| run.count).sum();
        let k = self.key.k as usize;
        let fits = k * panel_row(&part.pieces) as usize <= MAX_SCRATCH;
        blocks > 10 && k >= lines_held(self.b_row as usize) && fits
    }

    /// Copies the panel of B at RSI to the scratch memory at R8, its rows one after the other.
    fn pack(&mut self, pieces: &[Piece]) {
        let (k, row) = (self.key.k as usize, panel_row(pieces));
        self.scratch = self.scratch.max(k * row as usize);
        let together = 4.min(k);
        self.out.asm.copy(R9, RSI);
        self.out.asm.copy(R10, R8);
        let copy_rows = |this: &mut Self, count: usize| {
            for step in 0..count as i32 {
                for (index, piece) in pieces.iter().enumerate() {
                    let from = Memory::At(R9, step * this.b_row + piece.offset);
                    let to = Memory::At(R10, step * row + piece.offset);
                    this.out.load(*piece, index as Vector, from);
                    this.out.asm.store(piece.width, index as Vector, to);
                }
            }
        };
        self.out.asm.set(RAX, (k / together) as u32);
        let start = self.out.asm.here();
        copy_rows(self, together);
        self.out.asm.add(R9, together as i32 * self.b_row);
        self.out.asm.add(R10, together as i32 * row);
        self.out.asm.repeat(RAX, start);
        copy_rows(self, k % together);
    }

    /// One block of C, from A at RDI and B at `b`, to C at RDX.
    fn block(&mut self, block: &Block<'_>, b: Gpr, b_row: i32) {
        let (k, sums, sets) = (block.k, block.sums(), block.sets());
        let spare = (sums * sets) as Vector;
        if k * sums <= self.budget {
            for step in 0..k {
                let set = (step % sets) as Vector * sums as Vector;
                self.step(block, Step { a: RDI, b, b_row, at: step, set, spare, first: step < sets });
            }
        } else {
            self.loop_along_k(block, b, b_row);
        }
        for set in 1..sets {
            for sum in 0..sums {
                let other = Operand::Register((set * sums + sum) as Vector);
                let width = block.pieces[sum % block.pieces.len()].width;
                self.out.asm.act(Action::Add, width, sum as Vector, sum as Vector, other);
            }
        }
        let results: Vec<_> = (0..sums)
            .map(|sum| {
                let (row, column) = (sum / block.pieces.len(), sum % block.pieces.len());
                let piece = block.pieces[column];
                (sum as Vector, piece, Memory::At(RDX, row as i32 * self.c_row + piece.offset))
            })
            .collect();
        write_back(&mut self.out, self.key, &results, [spare, spare + 1]);
    }

    fn loop_along_k(&mut self, block: &Block<'_>, b: Gpr, b_row: i32) {
        let (k, sums, sets) = (block.k, block.sums(), block.sets());
        let spare = (sums * sets) as Vector;
        // Whole rounds of the sets, so that a step always adds to the same one.
        let rounds = ((self.budget / 2 / sums).clamp(1, 8) / sets).max(1);
        let unrolled = (rounds * sets).min(k);
        for sum in 0..spare {
            self.out.asm.zero(sum);
        }
        let steps = |this: &mut Self, count: usize| {
            for at in 0..count {
                let set = (at % sets * sums) as Vector;
                this.step(block, Step { a: R9, b: R10, b_row, at, set, spare, first: false });
            }
        };
        self.out.asm.copy(R9, RDI);
        self.out.asm.copy(R10, b);
        self.out.asm.set(RAX, (k / unrolled) as u32);
        let start = self.out.asm.here();
        steps(self, unrolled);
        self.out.asm.add(R9, unrolled as i32 * self.a_column);
        self.out.asm.add(R10, unrolled as i32 * b_row);
        self.out.asm.repeat(RAX, start);
        steps(self, k % unrolled);
    }

    /// One element of k for all sums of the block.
    fn step(&mut self, block: &Block<'_>, step: Step) {
        let Step { a, b, b_row, at, set, spare, first } = step;
        let action = if first { Action::Multiply } else { Action::MultiplyAdd };
        let a_at = |row: usize| Memory::At(a, row as i32 * self.a_row + at as i32 * self.a_column);
        let b_at = |piece: &Piece| Memory::At(b, at as i32 * b_row + piece.offset);
        let out = &mut self.out;
        match block.method() {
            Method::Row => {
                out.asm.broadcast(widest_of(block.pieces), spare, a_at(0));
                for (sum, piece) in block.pieces.iter().enumerate() {
                    out.act_on(action, *piece, set + sum as Vector, spare, b_at(piece), spare + 1);
                }
            }
            Method::Column => {
                let piece = block.pieces[0];
                out.load(piece, spare, b_at(&piece));
                for row in 0..block.rows {
                    let a = Operand::Broadcast(a_at(row));
                    out.asm.act(action, piece.width, set + row as Vector, spare, a);
                }
            }
            Method::Block => {
                for (index, piece) in block.pieces.iter().enumerate() {
                    out.load(*piece, spare + 1 + index as Vector, b_at(piece));
                }
                for row in 0..block.rows {
                    out.asm.broadcast(widest_of(block.pieces), spare, a_at(row));
                    for (index, piece) in block.pieces.iter().enumerate() {
                        let sum = set + (row * block.pieces.len() + index) as Vector;
                        let b = Operand::Register(spare + 1 + index as Vector);
                        out.asm.act(action, piece.width, sum, spare, b);
                    }
                }
            }
        }
    }
}

/// One step along k: where its operands are, which sums it adds to, and which registers are free.
#[derive(Debug, Clone, Copy)]
struct Step {
    a: Gpr,
    b: Gpr,
    b_row: i32,
    at: usize,
    set: Vector,
    spare: Vector,
    first: bool,
}

/// The width that serves all pieces, at least Y.
fn widest_of(pieces: &[Piece]) -> Width {
    pieces.iter().map(|piece| piece.width).fold(Width::Y, Width::max)
}

/// Bytes of a row of a packed panel.
fn panel_row(pieces: &[Piece]) -> i32 {
    pieces.iter().map(|piece| piece.width.bytes() as i32).sum()
}

/// C ← α·sums + β·C for `results` of (sum, piece, place); `spare` registers may be overwritten.
pub(super) fn write_back(
    out: &mut Emitter,
    key: &KernelKey,
    results: &[(Vector, Piece, Memory)],
    [scale, old]: [Vector; 2],
) {
    let widest = results.iter().map(|(_, piece, _)| piece.width).fold(Width::Y, Width::max);
    let (alpha, beta) = (Memory::At(RCX, 0), Memory::At(RCX, out.size));
    match (key.alpha, key.beta) {
        (Scale::General, _) => {
            out.asm.broadcast(widest, scale, alpha);
            for &(sum, piece, _) in results {
                out.asm.act(Action::Multiply, piece.width, sum, sum, Operand::Register(scale));
            }
        }
        (Scale::MinusOne, Scale::Zero) => {
            out.asm.zero(scale);
            for &(sum, piece, _) in results {
                out.asm.act(Action::Subtract, piece.width, sum, scale, Operand::Register(sum));
            }
        }
        _ => {}
    }
    let minus = key.alpha == Scale::MinusOne;
    if key.beta == Scale::General {
        out.asm.broadcast(widest, scale, beta);
    }
    for &(sum, piece, place) in results {
        match key.beta {
            Scale::Zero => {}
            Scale::General => {
                let action = if minus { Action::MultiplySubtract } else { Action::MultiplyAdd };
                out.act_on(action, piece, sum, scale, place, old);
            }
            _ if minus => {
                out.load(piece, old, place);
                out.asm.act(Action::Subtract, piece.width, sum, old, Operand::Register(sum));
            }
            _ => out.act_on(Action::Add, piece, sum, sum, place, old),
        }
        out.store(piece, sum, place);
    }
}
