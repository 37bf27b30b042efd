//! y ← α·A·x + β·y where rows of A and both vectors are contiguous: eight rows at a time, sums along the vectors, whose
//! lanes are added up at the end of each row.

use super::encode::{Action, Gpr, Memory, Operand, R9, R10, R11, RAX, RDI, RDX, RSI, Vector, Width};
use super::outer::write_back;
use super::piece::{Access, Emitter, Piece, has_masks, pieces, widest};
use crate::element::ElementType;
use crate::jit::Generated;
use crate::jit::key::{Isa, KernelKey};

/// Rows at a time, which is as many sums as the pipeline needs.
const ROWS: usize = 8;
/// Registers 0 to 7 hold sums; x, a part of A, and masks stand behind them.
const X: Vector = 8;
const PART: Vector = 9;
const SCALE: Vector = 10;
const OLD: Vector = 11;
/// Of the last part of a row of A, and of the last results: k1 and k2, or vectors 15 and 14.
fn masks(isa: Isa) -> [u8; 2] {
    if has_masks(isa) { [1, 2] } else { [15, 14] }
}

struct Generator<'a> {
    out: Emitter,
    key: &'a KernelKey,
    a_row: i32,
    /// Of whole vectors.
    width: Width,
    /// The whole vectors of a row, and what is left.
    whole: Vec<Piece>,
    rest: Option<Piece>,
    budget: usize,
}

pub(super) fn generate(key: &KernelKey, budget: usize) -> Generated {
    let out = Emitter::new(key.element, key.isa);
    let a_row = key.a_row as i32 * out.size;
    let k = key.k as usize;
    let width = widest(key.isa, k, key.element);
    let mut whole = pieces(k, key.element, width, masks(key.isa)[0]);
    let is_rest = |piece: &Piece| piece.width != width || piece.access != Access::Whole;
    let rest = whole.pop_if(|piece| is_rest(piece));
    let mut generator = Generator { out, key, a_row, width, whole, rest, budget };
    generator.kernel();
    Generated { code: generator.out.asm.finish(), scratch: 0 }
}

impl Generator<'_> {
    fn kernel(&mut self) {
        let (m, isa) = (self.key.m as usize, self.key.isa);
        let [_, mask] = masks(isa);
        // Results leave in Y registers at most.
        let results = |count| pieces(count, self.key.element, Width::Y, mask);
        let (groups, last, all) = (m / ROWS, results(m % ROWS), results(ROWS));
        for piece in self.rest.iter().chain(&last) {
            self.out.prepare_mask(*piece);
        }
        if groups > 0 {
            self.out.asm.set(R11, groups as u32);
            let start = self.out.asm.here();
            self.rows(ROWS, &all);
            self.out.asm.add(RDI, ROWS as i32 * self.a_row);
            self.out.asm.add(RDX, ROWS as i32 * self.out.size);
            self.out.asm.repeat(R11, start);
        }
        if !last.is_empty() {
            self.rows(m % ROWS, &last);
        }
    }

    /// The sums of `count` rows at RDI, to y at RDX.
    fn rows(&mut self, count: usize, results: &[Piece]) {
        let sets = (ROWS / count).min(self.whole.len()).max(1);
        self.sum_along_rows(count, sets);
        for set in 1..sets {
            for row in 0..count {
                let other = Operand::Register((set * count + row) as Vector);
                self.out.asm.act(Action::Add, self.width, row as Vector, row as Vector, other);
            }
        }
        let mut first = 0;
        let mut sums = Vec::new();
        for piece in results {
            // A few results may take several pieces, but never more than one register of totals each.
            self.add_lanes(first, piece.lanes as Vector);
            sums.push((first, *piece, Memory::At(RDX, piece.offset)));
            first += piece.lanes as Vector;
        }
        write_back(&mut self.out, self.key, &sums, [SCALE, OLD]);
    }

    /// Leaves in registers 0 to `count`·`sets` sums of the products of rows and x, lane by lane.
    fn sum_along_rows(&mut self, count: usize, sets: usize) {
        // What is left of a row comes first, since a narrow instruction clears the lanes above it.
        if let Some(rest) = self.rest {
            self.out.load(rest, X, Memory::At(RSI, rest.offset));
            for row in 0..count {
                let place = Memory::At(RDI, row as i32 * self.a_row + rest.offset);
                self.out.act_on(Action::Multiply, rest, row as Vector, X, place, PART);
            }
        }
        let filled = if self.rest.is_some() { count } else { 0 };
        let (steps, width) = (self.whole.len(), self.width.bytes() as i32);
        if steps * count <= self.budget / 2 {
            for at in 0..steps {
                let first = at % sets * count;
                let action =
                    if at < sets && first >= filled { Action::Multiply } else { Action::MultiplyAdd };
                self.step(count, first as Vector, action, (RDI, RSI), at as i32 * width);
            }
            return;
        }
        for sum in filled..count * sets {
            self.out.asm.zero(sum as Vector);
        }
        let unrolled = ((self.budget / 4 / count).clamp(1, 8) / sets).max(1) * sets;
        self.out.asm.copy(R9, RDI);
        self.out.asm.copy(R10, RSI);
        let steps_of = |this: &mut Self, steps: usize| {
            for at in 0..steps {
                let first = (at % sets * count) as Vector;
                this.step(count, first, Action::MultiplyAdd, (R9, R10), at as i32 * width);
            }
        };
        if steps / unrolled > 0 {
            self.out.asm.set(RAX, (steps / unrolled) as u32);
            let start = self.out.asm.here();
            steps_of(self, unrolled);
            self.out.asm.add(R9, unrolled as i32 * width);
            self.out.asm.add(R10, unrolled as i32 * width);
            self.out.asm.repeat(RAX, start);
        }
        steps_of(self, steps % unrolled);
    }

    /// One vector of x and of each row.
    fn step(&mut self, count: usize, first: Vector, action: Action, (a, x): (Gpr, Gpr), offset: i32) {
        let width = self.width;
        self.out.asm.load(width, X, Memory::At(x, offset));
        for row in 0..count {
            let place = Operand::Memory(Memory::At(a, row as i32 * self.a_row + offset));
            self.out.asm.act(action, width, first + row as Vector, X, place);
        }
    }

    /// Leaves the totals of `count` registers from `first` side by side in the first of them.
    fn add_lanes(&mut self, first: Vector, count: Vector) {
        let wide = !self.whole.is_empty() || self.rest.is_some_and(|rest| rest.width == Width::Z);
        let asm = &mut self.out.asm;
        let mut registers: Vec<Vector> = (first..first + count).collect();
        if self.width == Width::Z && wide {
            for &register in &registers {
                asm.upper_half_of_z(PART, register);
                asm.act(Action::Add, Width::Y, register, register, Operand::Register(PART));
            }
        }
        // Neighbours are added within 128 bits until each lane of those holds one total's half; a register without
        // a partner is its own, and what it makes twice is not stored.
        let levels = if self.key.element == ElementType::F32 { 2 } else { 1 };
        for _ in 0..levels {
            for pair in registers.chunks(2) {
                let partner = Operand::Register(pair[pair.len() - 1]);
                asm.act(Action::HorizontalAdd, Width::Y, pair[0], pair[0], partner);
            }
            registers = registers.into_iter().step_by(2).collect();
        }
        let (low, high) = (registers[0], registers[registers.len() - 1]);
        asm.halves(PART, low, high, 0x31);
        asm.halves(low, low, high, 0x20);
        asm.act(Action::Add, Width::Y, low, low, Operand::Register(PART));
    }
}
