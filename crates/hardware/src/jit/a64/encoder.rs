//! The A64 instructions that kernels are made of, as words (Arm Architecture Reference Manual, DDI 0487, C4), and a
//! buffer of them with backward branches. `tests.rs` holds each form against the words of GNU as.

use crate::element::ElementType;

/// A general register, x0 to x30; 31 is xzr or sp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct X(pub(super) u32);
/// A vector register: v0 to v31, or z0 to z31 in streaming mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct V(pub(super) u32);
/// A predicate register, p0 to p7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct P(pub(super) u32);

pub(super) const ZERO: X = X(31);
pub(super) const SP: X = X(31);

/// What a vector is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    S,
    D,
}

impl Lane {
    pub(super) const fn of(element: ElementType) -> Self {
        if element.bytes() == 8 { Self::D } else { Self::S }
    }

    pub(super) const fn bytes(self) -> u32 {
        4 << self.double()
    }

    /// log₂ of the bytes.
    pub(super) const fn shift(self) -> u32 {
        2 + self.double()
    }

    const fn double(self) -> u32 {
        matches!(self, Self::D) as u32
    }
}

/// How much of a vector register is loaded or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    S,
    D,
    Q,
}

impl Width {
    pub(super) const fn bytes(self) -> u32 {
        match self {
            Self::S => 4,
            Self::D => 8,
            Self::Q => 16,
        }
    }
}

/// Conditions of a branch or select.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    NotEqual = 1,
    HigherOrSame = 2,
    Lower = 3,
}

const fn three(base: u32, d: u32, n: u32, m: u32) -> u32 {
    base | m << 16 | n << 5 | d
}

// General registers.

pub(super) const fn movz(d: X, value: u16, quarter: u32) -> u32 {
    0xD280_0000 | quarter << 21 | (value as u32) << 5 | d.0
}

pub(super) const fn movk(d: X, value: u16, quarter: u32) -> u32 {
    0xF280_0000 | quarter << 21 | (value as u32) << 5 | d.0
}

pub(super) const fn mov(d: X, m: X) -> u32 {
    0xAA00_03E0 | m.0 << 16 | d.0
}

/// d ← n + (m << shift).
pub(super) const fn add(d: X, n: X, m: X, shift: u32) -> u32 {
    three(0x8B00_0000, d.0, n.0, m.0) | shift << 10
}

pub(super) const fn add_immediate(d: X, n: X, value: u32) -> u32 {
    assert!(value < 1 << 12);
    0x9100_0000 | value << 10 | n.0 << 5 | d.0
}

pub(super) const fn sub(d: X, n: X, m: X) -> u32 {
    three(0xCB00_0000, d.0, n.0, m.0)
}

pub(super) const fn subs_immediate(d: X, n: X, value: u32) -> u32 {
    assert!(value < 1 << 12);
    0xF100_0000 | value << 10 | n.0 << 5 | d.0
}

pub(super) const fn cmp(n: X, m: X) -> u32 {
    three(0xEB00_0000, ZERO.0, n.0, m.0)
}

/// d ← n if the condition holds, else m.
pub(super) const fn csel(d: X, n: X, m: X, condition: Condition) -> u32 {
    three(0x9A80_0000, d.0, n.0, m.0) | (condition as u32) << 12
}

/// d ← a + n·m.
pub(super) const fn madd(d: X, n: X, m: X, a: X) -> u32 {
    three(0x9B00_0000, d.0, n.0, m.0) | a.0 << 10
}

pub(super) const fn ret() -> u32 {
    0xD65F_03C0
}

/// Two registers at n + 8·slot.
pub(super) const fn stp(t: X, u: X, n: X, slot: u32) -> u32 {
    0xA900_0000 | slot << 15 | u.0 << 10 | n.0 << 5 | t.0
}

pub(super) const fn ldp(t: X, u: X, n: X, slot: u32) -> u32 {
    0xA940_0000 | slot << 15 | u.0 << 10 | n.0 << 5 | t.0
}

/// The low halves of two vector registers at n + 8·slot.
pub(super) const fn stp_d(t: V, u: V, n: X, slot: u32) -> u32 {
    0x6D00_0000 | slot << 15 | u.0 << 10 | n.0 << 5 | t.0
}

pub(super) const fn ldp_d(t: V, u: V, n: X, slot: u32) -> u32 {
    0x6D40_0000 | slot << 15 | u.0 << 10 | n.0 << 5 | t.0
}

pub(super) const fn sub_immediate(d: X, n: X, value: u32) -> u32 {
    assert!(value < 1 << 12);
    0xD100_0000 | value << 10 | n.0 << 5 | d.0
}

// NEON.

/// Loads `width` at n + offset; the rest of the register becomes zero.
pub(super) const fn ldr(width: Width, t: V, n: X, offset: u32) -> u32 {
    let base = match width {
        Width::S => 0xBD40_0000,
        Width::D => 0xFD40_0000,
        Width::Q => 0x3DC0_0000,
    };
    base | scaled(width, offset) << 10 | n.0 << 5 | t.0
}

pub(super) const fn str(width: Width, t: V, n: X, offset: u32) -> u32 {
    let base = match width {
        Width::S => 0xBD00_0000,
        Width::D => 0xFD00_0000,
        Width::Q => 0x3D80_0000,
    };
    base | scaled(width, offset) << 10 | n.0 << 5 | t.0
}

const fn scaled(width: Width, offset: u32) -> u32 {
    let count = offset / width.bytes();
    assert!(count * width.bytes() == offset && count < 1 << 12);
    count
}

/// Every lane of t ← the element at n; then n += m (x31: the bytes of the element).
pub(super) const fn ld1r_then_add(lane: Lane, t: V, n: X, m: X) -> u32 {
    three(0x4DC0_C000, t.0, n.0, m.0) | (2 + lane.double()) << 10
}

/// Lane 2 of four ← the element at n.
pub(super) const fn ld1_third(t: V, n: X) -> u32 {
    0x4D40_8000 | n.0 << 5 | t.0
}

pub(super) const fn st1_third(t: V, n: X) -> u32 {
    0x4D00_8000 | n.0 << 5 | t.0
}

pub(super) const fn clear(d: V) -> u32 {
    0x6F00_E400 | d.0
}

/// d += n·m.
pub(super) const fn fmla(lane: Lane, d: V, n: V, m: V) -> u32 {
    three(0x4E20_CC00, d.0, n.0, m.0) | lane.double() << 22
}

/// d −= n·m.
pub(super) const fn fmls(lane: Lane, d: V, n: V, m: V) -> u32 {
    three(0x4EA0_CC00, d.0, n.0, m.0) | lane.double() << 22
}

pub(super) const fn fmul(lane: Lane, d: V, n: V, m: V) -> u32 {
    three(0x6E20_DC00, d.0, n.0, m.0) | lane.double() << 22
}

pub(super) const fn fadd(lane: Lane, d: V, n: V, m: V) -> u32 {
    three(0x4E20_D400, d.0, n.0, m.0) | lane.double() << 22
}

/// Sums of neighbours, those of n first.
pub(super) const fn faddp(lane: Lane, d: V, n: V, m: V) -> u32 {
    three(0x6E20_D400, d.0, n.0, m.0) | lane.double() << 22
}

// Streaming mode.

pub(super) const fn smstart() -> u32 {
    0xD503_477F
}

pub(super) const fn smstop() -> u32 {
    0xD503_467F
}

/// Lanes of a streaming vector.
pub(super) const fn count(lane: Lane, d: X) -> u32 {
    0x04A0_E3E0 | lane.double() << 22 | d.0
}

pub(super) const fn ptrue(lane: Lane, d: P) -> u32 {
    0x2598_E3E0 | lane.double() << 22 | d.0
}

/// Lanes whose index, counted from n, is below m.
pub(super) const fn whilelo(lane: Lane, d: P, n: X, m: X) -> u32 {
    three(0x25A0_1C00, d.0, n.0, m.0) | lane.double() << 22
}

/// Loads vector `index` from n on, zeros where g is not set.
pub(super) const fn ld1(lane: Lane, t: V, g: P, n: X, index: u32) -> u32 {
    assert!(index < 8);
    let base = match lane {
        Lane::S => 0xA540_A000,
        Lane::D => 0xA5E0_A000,
    };
    base | index << 16 | g.0 << 10 | n.0 << 5 | t.0
}

pub(super) const fn st1(lane: Lane, t: V, g: P, n: X, index: u32) -> u32 {
    assert!(index < 8);
    let base = match lane {
        Lane::S => 0xE540_E000,
        Lane::D => 0xE5E0_E000,
    };
    base | index << 16 | g.0 << 10 | n.0 << 5 | t.0
}

/// Every lane ← element `index` from n on.
pub(super) const fn ld1r(lane: Lane, t: V, g: P, n: X, index: u32) -> u32 {
    assert!(index < 8);
    let base = match lane {
        Lane::S => 0x8540_C000,
        Lane::D => 0x85C0_E000,
    };
    base | index << 16 | g.0 << 10 | n.0 << 5 | t.0
}

pub(super) const fn zero_za() -> u32 {
    0xC008_00FF
}

/// tile += n ⊗ m.
pub(super) const fn fmopa(lane: Lane, tile: u32, (pn, pm): (P, P), n: V, m: V) -> u32 {
    three(0x8080_0000, tile, n.0, m.0) | lane.double() << 22 | pm.0 << 13 | pn.0 << 10
}

/// tile −= n ⊗ m.
pub(super) const fn fmops(lane: Lane, tile: u32, predicates: (P, P), n: V, m: V) -> u32 {
    fmopa(lane, tile, predicates, n, m) | 1 << 4
}

/// A row or a column of a ZA tile, chosen by w12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slice {
    Row = 0,
    Column = 1,
}

/// d ← a slice of the tile.
pub(super) const fn mova_from(lane: Lane, d: V, g: P, tile: u32, slice: Slice) -> u32 {
    // The number of the tile stands above the offset, which is 0.
    let place = tile << (2 - lane.double());
    0xC082_0000 | lane.double() << 22 | (slice as u32) << 15 | g.0 << 10 | place << 5 | d.0
}

/// A slice of the tile ← n.
pub(super) const fn mova_to(lane: Lane, tile: u32, slice: Slice, g: P, n: V) -> u32 {
    let place = tile << (2 - lane.double());
    0xC080_0000 | lane.double() << 22 | (slice as u32) << 15 | g.0 << 10 | n.0 << 5 | place
}

pub(super) const fn sve_fmul(lane: Lane, d: V, n: V, m: V) -> u32 {
    three(0x6580_0800, d.0, n.0, m.0) | lane.double() << 22
}

pub(super) const fn sve_fadd(lane: Lane, d: V, n: V, m: V) -> u32 {
    three(0x6580_0000, d.0, n.0, m.0) | lane.double() << 22
}

/// d += n·m where g is set.
pub(super) const fn sve_fmla(lane: Lane, d: V, g: P, n: V, m: V) -> u32 {
    three(0x65A0_0000, d.0, n.0, m.0) | lane.double() << 22 | g.0 << 10
}

/// A branch forward whose target has not been written.
#[derive(Debug)]
#[must_use]
pub(super) struct Skip(usize);

/// A loop whose end has not been written.
#[derive(Debug)]
#[must_use]
pub(super) struct Loop {
    counter: X,
    start: Label,
    once: bool,
}

/// Code under construction.
#[derive(Debug, Default)]
pub(super) struct Code {
    words: Vec<u32>,
}

/// A place to branch back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label(usize);

impl Code {
    pub(super) fn emit(&mut self, word: u32) {
        self.words.push(word);
    }

    pub(super) fn label(&self) -> Label {
        Label(self.words.len())
    }

    /// Branches back to `label` where the condition holds.
    pub(super) fn branch(&mut self, condition: Condition, label: Label) {
        let back = u32::try_from(self.words.len() - label.0).expect("kernels are short");
        assert!(back < 1 << 18);
        let distance = back.wrapping_neg() & 0x7_FFFF;
        self.emit(0x5400_0000 | distance << 5 | condition as u32);
    }

    /// Branches forward where the condition holds, to where [`Code::land`] says.
    pub(super) fn skip(&mut self, condition: Condition) -> Skip {
        let at = self.words.len();
        self.emit(0x5400_0000 | condition as u32);
        Skip(at)
    }

    /// The branch goes to the next instruction.
    pub(super) fn land(&mut self, Skip(at): Skip) {
        let distance = u32::try_from(self.words.len() - at).expect("kernels are short");
        assert!(distance < 1 << 18);
        self.words[at] |= distance << 5;
    }

    /// d ← value.
    pub(super) fn load(&mut self, d: X, value: u32) {
        let [low, high] = [value as u16, (value >> 16) as u16];
        self.emit(movz(d, low, 0));
        if high != 0 {
            self.emit(movk(d, high, 1));
        }
    }

    /// d ← n + value, through `spare` where the value is large.
    pub(super) fn add(&mut self, d: X, n: X, value: u32, spare: X) {
        if value < 1 << 12 {
            self.emit(add_immediate(d, n, value));
        } else {
            self.load(spare, value);
            self.emit(add(d, n, spare, 0));
        }
    }

    /// Begins a loop that runs `times` times, counting down in `counter`.
    pub(super) fn begin(&mut self, counter: X, times: u32) -> Loop {
        if times > 1 {
            self.load(counter, times);
        }
        Loop { counter, start: self.label(), once: times <= 1 }
    }

    /// Ends it.
    pub(super) fn end(&mut self, Loop { counter, start, once }: Loop) {
        if !once {
            self.emit(subs_immediate(counter, counter, 1));
            self.branch(Condition::NotEqual, start);
        }
    }

    pub(super) fn finish(self) -> Vec<u32> {
        self.words
    }
}
