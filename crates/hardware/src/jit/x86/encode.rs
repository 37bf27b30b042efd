//! The bytes of the instructions that kernels are made of (Intel SDM volume 2, §2.3 VEX and §2.7 EVEX).
//!
//! An instruction takes the VEX form where that can express it (registers below 16, no mask, no broadcast, at most 256
//! bits) and the EVEX form otherwise. It knows nothing of matrices.

use crate::element::ElementType;

/// A general register, by its number in encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gpr(u8);

pub(super) const RAX: Gpr = Gpr(0);
pub(super) const RCX: Gpr = Gpr(1);
pub(super) const RDX: Gpr = Gpr(2);
pub(super) const RBX: Gpr = Gpr(3);
pub(super) const RSI: Gpr = Gpr(6);
pub(super) const RDI: Gpr = Gpr(7);
pub(super) const R8: Gpr = Gpr(8);
pub(super) const R9: Gpr = Gpr(9);
pub(super) const R10: Gpr = Gpr(10);
pub(super) const R11: Gpr = Gpr(11);

/// A vector register, 0 to 31 (with AVX2 to 15).
pub(super) type Vector = u8;

/// How much of a vector register an instruction works on; the rest becomes zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    X = 0,
    Y = 1,
    Z = 2,
}

impl Width {
    pub(super) const fn bytes(self) -> usize {
        16 << self as usize
    }
}

/// Memory at a register plus a distance in bytes, or a constant of the code.
#[derive(Debug, Clone, Copy)]
pub(super) enum Memory {
    At(Gpr, i32),
    Constant(usize),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Operand {
    Register(Vector),
    Memory(Memory),
    /// One element, used for every lane (EVEX only).
    Broadcast(Memory),
}

/// An instruction on vectors: the opcode map, the implied prefix, the opcode, and W in either form.
#[derive(Debug, Clone, Copy)]
struct Code {
    map: u8,
    prefix: u8,
    opcode: u8,
    vex_w: bool,
    evex_w: bool,
    /// Bytes of the memory operand where it is not a whole vector.
    unit: Option<u8>,
}

/// What is done to vectors of one element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// d ← a + b
    Add,
    /// d ← a − b
    Subtract,
    /// d ← a · b
    Multiply,
    /// d ← d + a · b
    MultiplyAdd,
    /// d ← a · b − d
    MultiplySubtract,
    /// Sums of neighbours of a and of b, within 128 bits (VEX only).
    HorizontalAdd,
}

const NONE: u8 = 0;
const P66: u8 = 1;
const PF3: u8 = 2;
const PF2: u8 = 3;

/// Machine code being written, for one element type.
#[derive(Debug)]
pub(super) struct Assembler {
    pub(super) code: Vec<u8>,
    double: bool,
    constants: Vec<[u8; 32]>,
    /// Where the distance to a constant stands, and which one.
    to_patch: Vec<(usize, usize)>,
}

/// The place of an instruction, to jump back to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label(usize);

impl Assembler {
    pub(super) fn new(element: ElementType) -> Self {
        Self {
            code: Vec::with_capacity(8 << 10),
            double: element == ElementType::F64,
            constants: Vec::new(),
            to_patch: Vec::new(),
        }
    }

    fn packed(&self, map: u8, opcode: u8) -> Code {
        // 0F: no prefix or 66; 0F38 and 0F3A: always 66, W tells the type.
        let prefix = if map == 1 && !self.double { NONE } else { P66 };
        Code { map, prefix, opcode, vex_w: self.double && map == 2, evex_w: self.double, unit: None }
    }

    /// `action` on whole registers, with the last operand in memory if so wished.
    pub(super) fn act(&mut self, action: Action, width: Width, to: Vector, a: Vector, b: Operand) {
        self.act_masked(action, width, to, a, b, 0);
    }

    /// As [`Assembler::act`] on the lanes of mask register `mask` only (0: all); others keep their value.
    pub(super) fn act_masked(
        &mut self,
        action: Action,
        width: Width,
        to: Vector,
        a: Vector,
        b: Operand,
        mask: u8,
    ) {
        let code = match action {
            Action::Add => self.packed(1, 0x58),
            Action::Subtract => self.packed(1, 0x5C),
            Action::Multiply => self.packed(1, 0x59),
            Action::MultiplyAdd => self.packed(2, 0xB8),
            Action::MultiplySubtract => self.packed(2, 0xBA),
            Action::HorizontalAdd => {
                Code { prefix: if self.double { P66 } else { PF2 }, ..self.packed(1, 0x7C) }
            }
        };
        self.instruction(code, width, to, a, b, mask, false);
    }

    /// A whole vector from memory.
    pub(super) fn load(&mut self, width: Width, to: Vector, from: Memory) {
        self.instruction(self.packed(1, 0x10), width, to, 0, Operand::Memory(from), 0, false);
    }

    /// A whole vector to memory.
    pub(super) fn store(&mut self, width: Width, from: Vector, to: Memory) {
        self.instruction(self.packed(1, 0x11), width, from, 0, Operand::Memory(to), 0, false);
    }

    /// The lanes of mask register `mask` from memory, zero elsewhere (AVX-512).
    pub(super) fn load_lanes(&mut self, width: Width, to: Vector, from: Memory, mask: u8) {
        self.instruction(self.packed(1, 0x10), width, to, 0, Operand::Memory(from), mask, true);
    }

    /// The lanes of mask register `mask` to memory (AVX-512).
    pub(super) fn store_lanes(&mut self, width: Width, from: Vector, to: Memory, mask: u8) {
        self.instruction(self.packed(1, 0x11), width, from, 0, Operand::Memory(to), mask, false);
    }

    /// The lanes whose sign bit is set in vector `mask` from memory, zero elsewhere (AVX2).
    pub(super) fn load_signed(&mut self, width: Width, to: Vector, from: Memory, mask: Vector) {
        let code =
            Code { prefix: P66, vex_w: false, ..self.packed(2, if self.double { 0x2D } else { 0x2C }) };
        self.instruction(code, width, to, mask, Operand::Memory(from), 0, false);
    }

    /// The lanes whose sign bit is set in vector `mask` to memory (AVX2).
    pub(super) fn store_signed(&mut self, width: Width, from: Vector, to: Memory, mask: Vector) {
        let code =
            Code { prefix: P66, vex_w: false, ..self.packed(2, if self.double { 0x2F } else { 0x2E }) };
        self.instruction(code, width, from, mask, Operand::Memory(to), 0, false);
    }

    fn low(bytes: u8, opcode: u8) -> Code {
        let prefix = if bytes == 8 { PF2 } else { PF3 };
        Code { map: 1, prefix, opcode, vex_w: false, evex_w: bytes == 8, unit: Some(bytes) }
    }

    /// The lowest 4 or 8 bytes from memory, zero elsewhere.
    pub(super) fn load_low(&mut self, bytes: u8, to: Vector, from: Memory) {
        self.instruction(Self::low(bytes, 0x10), Width::X, to, 0, Operand::Memory(from), 0, false);
    }

    /// The lowest 4 or 8 bytes to memory.
    pub(super) fn store_low(&mut self, bytes: u8, from: Vector, to: Memory) {
        self.instruction(Self::low(bytes, 0x11), Width::X, from, 0, Operand::Memory(to), 0, false);
    }

    /// One element from memory in every lane; `width` is Y or Z.
    pub(super) fn broadcast(&mut self, width: Width, to: Vector, from: Memory) {
        let (opcode, unit) = if self.double { (0x19, 8) } else { (0x18, 4) };
        let code = Code { vex_w: false, unit: Some(unit), ..self.packed(2, opcode) };
        self.instruction(code, width, to, 0, Operand::Memory(from), 0, false);
    }

    /// 0 in the whole register.
    pub(super) fn zero(&mut self, register: Vector) {
        let code = if register < 16 {
            // vxorps
            Code { map: 1, prefix: NONE, opcode: 0x57, vex_w: false, evex_w: false, unit: None }
        } else {
            // vpxord
            Code { map: 1, prefix: P66, opcode: 0xEF, vex_w: false, evex_w: false, unit: None }
        };
        self.instruction(code, Width::X, register, register, Operand::Register(register), 0, false);
    }

    /// The upper half of a Z register as a Y register (`vextractf64x4`, AVX-512).
    pub(super) fn upper_half_of_z(&mut self, to: Vector, from: Vector) {
        let code = Code { map: 3, prefix: P66, opcode: 0x1B, vex_w: false, evex_w: true, unit: None };
        self.instruction(code, Width::Z, from, 0, Operand::Register(to), 0, false);
        self.code.push(1);
    }

    /// The lower halves of Y registers a and b (`selector` 0x20) or their upper halves (0x31), side by side.
    pub(super) fn halves(&mut self, to: Vector, a: Vector, b: Vector, selector: u8) {
        let code = Code { map: 3, prefix: P66, opcode: 0x06, vex_w: false, evex_w: false, unit: None };
        self.instruction(code, Width::Y, to, a, Operand::Register(b), 0, false);
        self.code.push(selector);
    }

    #[allow(clippy::too_many_arguments)]
    fn instruction(
        &mut self,
        code: Code,
        width: Width,
        reg: Vector,
        second: Vector,
        rm: Operand,
        mask: u8,
        zeroing: bool,
    ) {
        let (rm_low, rm_high) = match rm {
            Operand::Register(register) => (register & 8 != 0, register & 16 != 0),
            Operand::Memory(Memory::At(base, _)) | Operand::Broadcast(Memory::At(base, _)) => {
                (base.0 & 8 != 0, false)
            }
            _ => (false, false),
        };
        let broadcast = matches!(rm, Operand::Broadcast(_));
        let high = reg >= 16 || second >= 16 || rm_high;
        if high || mask != 0 || broadcast || width == Width::Z {
            let inverted = |bit: bool, place: u8| u8::from(!bit) << place;
            self.code.extend([
                0x62,
                inverted(reg & 8 != 0, 7)
                    | inverted(rm_high, 6)
                    | inverted(rm_low, 5)
                    | inverted(reg & 16 != 0, 4)
                    | code.map,
                u8::from(code.evex_w) << 7 | (!second & 15) << 3 | 4 | code.prefix,
                u8::from(zeroing) << 7
                    | (width as u8) << 5
                    | u8::from(broadcast) << 4
                    | inverted(second & 16 != 0, 3)
                    | mask,
                code.opcode,
            ]);
            let unit = match code.unit {
                Some(unit) => i32::from(unit),
                None if broadcast => {
                    if self.double {
                        8
                    } else {
                        4
                    }
                }
                None => 16 << width as i32,
            };
            self.mod_rm(reg, rm, unit, usize::from(code.map == 3));
            return;
        }
        let last = (!second & 15) << 3 | (width as u8) << 2 | code.prefix;
        let r = u8::from(reg & 8 == 0) << 7;
        if code.map == 1 && !code.vex_w && !rm_low {
            self.code.extend([0xC5, r | last]);
        } else {
            let x_and_b = 0x40 | u8::from(!rm_low) << 5;
            self.code.extend([0xC4, r | x_and_b | code.map, u8::from(code.vex_w) << 7 | last]);
        }
        self.code.push(code.opcode);
        self.mod_rm(reg, rm, 1, usize::from(code.map == 3));
    }

    /// The operand bytes; a short distance is counted in `unit` bytes. `after` bytes follow in the instruction.
    fn mod_rm(&mut self, reg: u8, rm: Operand, unit: i32, after: usize) {
        let reg = (reg & 7) << 3;
        match rm {
            Operand::Register(register) => self.code.push(0xC0 | reg | register & 7),
            Operand::Memory(Memory::At(base, distance)) | Operand::Broadcast(Memory::At(base, distance)) => {
                let base = base.0 & 7;
                debug_assert!(base != 4 && base != 5, "RSP, RBP, R12 and R13 need another form");
                let short = i8::try_from(distance / unit).ok().filter(|_| distance % unit == 0);
                match short {
                    Some(0) => self.code.push(reg | base),
                    Some(short) => self.code.extend([0x40 | reg | base, short.cast_unsigned()]),
                    None => {
                        self.code.push(0x80 | reg | base);
                        self.code.extend(distance.to_le_bytes());
                    }
                }
            }
            Operand::Memory(Memory::Constant(index)) | Operand::Broadcast(Memory::Constant(index)) => {
                debug_assert_eq!(after, 0, "distances count from the end of the instruction");
                self.code.push(reg | 5);
                self.to_patch.push((self.code.len(), index));
                self.code.extend([0; 4]);
            }
        }
    }

    /// A constant that stands behind the code.
    pub(super) fn constant(&mut self, bytes: [u8; 32]) -> Memory {
        let index = self.constants.iter().position(|known| *known == bytes).unwrap_or_else(|| {
            self.constants.push(bytes);
            self.constants.len() - 1
        });
        Memory::Constant(index)
    }

    /// Mask register `mask` ← `lanes`.
    pub(super) fn set_mask(&mut self, mask: u8, lanes: u16) {
        self.set(RAX, u32::from(lanes));
        // kmovw
        self.code.extend([0xC5, 0xF8, 0x92, 0xC0 | mask << 3]);
    }

    fn rex(&mut self, wide: bool, reg: Gpr, rm: Gpr) {
        let rex = 0x40 | u8::from(wide) << 3 | (reg.0 >> 3) << 2 | rm.0 >> 3;
        if rex != 0x40 {
            self.code.push(rex);
        }
    }

    /// `to` ← `value`.
    pub(super) fn set(&mut self, to: Gpr, value: u32) {
        self.rex(false, Gpr(0), to);
        self.code.push(0xB8 | to.0 & 7);
        self.code.extend(value.to_le_bytes());
    }

    /// `to` ← `from`.
    pub(super) fn copy(&mut self, to: Gpr, from: Gpr) {
        self.rex(true, from, to);
        self.code.extend([0x89, 0xC0 | (from.0 & 7) << 3 | to.0 & 7]);
    }

    /// `to` ← `to + value`.
    pub(super) fn add(&mut self, to: Gpr, value: i32) {
        if value == 0 {
            return;
        }
        self.rex(true, Gpr(0), to);
        if let Ok(short) = i8::try_from(value) {
            self.code.extend([0x83, 0xC0 | to.0 & 7, short.cast_unsigned()]);
        } else {
            self.code.extend([0x81, 0xC0 | to.0 & 7]);
            self.code.extend(value.to_le_bytes());
        }
    }

    pub(super) fn push(&mut self, register: Gpr) {
        self.code.push(0x50 | register.0);
    }

    pub(super) fn pop(&mut self, register: Gpr) {
        self.code.push(0x58 | register.0);
    }

    pub(super) fn here(&self) -> Label {
        Label(self.code.len())
    }

    /// Counts `counter` down and jumps back to `start` until it is zero.
    pub(super) fn repeat(&mut self, counter: Gpr, start: Label) {
        self.rex(false, Gpr(0), counter);
        self.code.extend([0xFF, 0xC8 | counter.0 & 7]);
        // Generated code is far below 2 GiB.
        let distance = start.0 as i64 - self.code.len() as i64;
        if let Ok(short) = i8::try_from(distance - 2) {
            self.code.extend([0x75, short.cast_unsigned()]);
        } else {
            self.code.extend([0x0F, 0x85]);
            self.code.extend(((distance - 6) as i32).to_le_bytes());
        }
    }

    /// Clears the upper halves, returns, and puts the constants behind the code.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.code.extend([0xC5, 0xF8, 0x77, 0xC3]);
        if !self.constants.is_empty() {
            self.code.resize(self.code.len().next_multiple_of(32), 0xCC);
        }
        let start = self.code.len();
        for constant in &self.constants {
            self.code.extend(constant);
        }
        for (at, index) in self.to_patch {
            let distance = (start + 32 * index) as i32 - (at as i32 + 4);
            self.code[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

    use super::*;

    /// The text of one instruction, which must be all that `write` wrote.
    fn text(element: ElementType, write: impl FnOnce(&mut Assembler)) -> String {
        let mut asm = Assembler::new(element);
        write(&mut asm);
        let mut decoder = Decoder::with_ip(64, &asm.code, 0, DecoderOptions::NONE);
        let instruction = decoder.decode();
        assert_eq!(instruction.len(), asm.code.len(), "{:02X?}", asm.code);
        let mut formatter = IntelFormatter::new();
        let options = formatter.options_mut();
        options.set_hex_prefix("0x");
        options.set_hex_suffix("");
        options.set_space_after_operand_separator(true);
        let mut text = String::new();
        formatter.format(&instruction, &mut text);
        text
    }

    const BASES: [(Gpr, &str); 10] = [
        (RAX, "rax"),
        (RCX, "rcx"),
        (RDX, "rdx"),
        (RBX, "rbx"),
        (RSI, "rsi"),
        (RDI, "rdi"),
        (R8, "r8"),
        (R9, "r9"),
        (R10, "r10"),
        (R11, "r11"),
    ];
    const DISTANCES: [i32; 9] = [0, 4, 64, 127, 128, -64, 8128, 8192, 1 << 20];
    const WIDTHS: [(Width, char); 3] = [(Width::X, 'x'), (Width::Y, 'y'), (Width::Z, 'z')];
    const TYPES: [(ElementType, char); 2] = [(ElementType::F32, 's'), (ElementType::F64, 'd')];

    fn place(base: &str, distance: i32) -> String {
        match distance {
            0 => format!("[{base}]"),
            _ if distance < 0 => format!("[{base}-{}]", number(-distance)),
            _ => format!("[{base}+{}]", number(distance)),
        }
    }

    fn number(value: i32) -> String {
        if value < 10 { value.to_string() } else { format!("0x{value:X}") }
    }

    /// Without the size of memory, which the formatter adds where it is not implied.
    fn plain(text: &str) -> String {
        ["zmmword ", "ymmword ", "xmmword ", "dword ", "qword ", "ptr ", "bcst "]
            .iter()
            .fold(text.to_owned(), |text, size| text.replace(size, ""))
    }

    #[test]
    fn arithmetic_on_registers() {
        for (element, s) in TYPES {
            for (width, w) in WIDTHS {
                for (to, a, b) in [(0, 1, 2), (7, 8, 15), (15, 16, 23), (31, 9, 24), (3, 31, 12)] {
                    for (action, name) in [
                        (Action::Add, "vaddp"),
                        (Action::Subtract, "vsubp"),
                        (Action::Multiply, "vmulp"),
                        (Action::MultiplyAdd, "vfmadd231p"),
                        (Action::MultiplySubtract, "vfmsub231p"),
                    ] {
                        let got = text(element, |asm| asm.act(action, width, to, a, Operand::Register(b)));
                        assert_eq!(got, format!("{name}{s} {w}mm{to}, {w}mm{a}, {w}mm{b}"));
                    }
                }
            }
            let got =
                text(element, |asm| asm.act(Action::HorizontalAdd, Width::Y, 1, 9, Operand::Register(14)));
            assert_eq!(got, format!("vhaddp{s} ymm1, ymm9, ymm14"));
        }
    }

    #[test]
    fn memory_at_every_base_and_distance() {
        for (element, s) in TYPES {
            for (base, name) in BASES {
                for distance in DISTANCES {
                    let (at, place) = (Memory::At(base, distance), place(name, distance));
                    for (width, w) in WIDTHS {
                        for v in [0, 8, 15, 16, 31] {
                            let got = text(element, |asm| asm.load(width, v, at));
                            assert_eq!(plain(&got), format!("vmovup{s} {w}mm{v}, {place}"));
                            let got = text(element, |asm| asm.store(width, v, at));
                            assert_eq!(plain(&got), format!("vmovup{s} {place}, {w}mm{v}"));
                            let got = text(element, |asm| asm.load_lanes(width, v, at, 1));
                            assert_eq!(plain(&got), format!("vmovup{s} {w}mm{v}{{k1}}{{z}}, {place}"));
                            let got = text(element, |asm| asm.store_lanes(width, v, at, 2));
                            assert_eq!(plain(&got), format!("vmovup{s} {place}{{k2}}, {w}mm{v}"));
                            let got = text(element, |asm| {
                                asm.act(Action::MultiplyAdd, width, v, 3, Operand::Broadcast(at));
                            });
                            let lanes = width.bytes() / element.bytes();
                            let fma = format!("vfmadd231p{s} {w}mm{v}, {w}mm3, {place}{{1to{lanes}}}");
                            assert!(
                                plain(&got) == fma
                                    || plain(&got) == fma.replace(&format!("{{1to{lanes}}}"), ""),
                                "{got}"
                            );
                            assert!(got.contains("bcst") || got.contains("1to"), "{got}");
                            if width != Width::X {
                                let got = text(element, |asm| asm.broadcast(width, v, at));
                                assert_eq!(plain(&got), format!("vbroadcasts{s} {w}mm{v}, {place}"));
                            }
                        }
                    }
                    for v in [0, 8, 15, 16, 31] {
                        for (bytes, low) in [(4, "vmovss"), (8, "vmovsd")] {
                            let got = text(element, |asm| asm.load_low(bytes, v, at));
                            assert_eq!(plain(&got), format!("{low} xmm{v}, {place}"));
                            let got = text(element, |asm| asm.store_low(bytes, v, at));
                            assert_eq!(plain(&got), format!("{low} {place}, xmm{v}"));
                        }
                    }
                    for (width, w) in [(Width::X, 'x'), (Width::Y, 'y')] {
                        let got = text(element, |asm| asm.load_signed(width, 9, at, 15));
                        assert_eq!(plain(&got), format!("vmaskmovp{s} {w}mm9, {w}mm15, {place}"));
                        let got = text(element, |asm| asm.store_signed(width, 9, at, 15));
                        assert_eq!(plain(&got), format!("vmaskmovp{s} {place}, {w}mm15, {w}mm9"));
                    }
                }
            }
        }
    }

    #[test]
    fn the_rest_of_the_vector_forms() {
        let f32 = ElementType::F32;
        assert_eq!(text(f32, |asm| asm.zero(9)), "vxorps xmm9, xmm9, xmm9");
        assert_eq!(text(f32, |asm| asm.zero(25)), "vpxord xmm25, xmm25, xmm25");
        assert_eq!(text(f32, |asm| asm.upper_half_of_z(9, 3)), "vextractf64x4 ymm9, zmm3, 1");
        assert_eq!(text(f32, |asm| asm.halves(1, 9, 12, 0x31)), "vperm2f128 ymm1, ymm9, ymm12, 0x31");
    }

    #[test]
    fn general_registers_and_loops() {
        let f32 = ElementType::F32;
        for (register, name) in BASES {
            let low = match name {
                "r8" | "r9" | "r10" | "r11" => format!("{name}d"),
                _ => name.replace('r', "e"),
            };
            assert_eq!(text(f32, |asm| asm.set(register, 77)), format!("mov {low}, 0x4D"));
            assert_eq!(text(f32, |asm| asm.copy(register, RSI)), format!("mov {name}, rsi"));
            assert_eq!(text(f32, |asm| asm.copy(R9, register)), format!("mov r9, {name}"));
            assert_eq!(text(f32, |asm| asm.add(register, 100)), format!("add {name}, 0x64"));
            assert_eq!(text(f32, |asm| asm.add(register, 1 << 20)), format!("add {name}, 0x100000"));
        }
        assert_eq!(text(f32, |asm| asm.push(RBX)), "push rbx");
        assert_eq!(text(f32, |asm| asm.pop(RBX)), "pop rbx");
        for (padding, len) in [(10, 2), (200, 6)] {
            let mut asm = Assembler::new(f32);
            let start = asm.here();
            for _ in 0..padding {
                asm.push(RBX);
            }
            asm.repeat(R11, start);
            let jump = asm.code.len() - len;
            let instruction =
                Decoder::with_ip(64, &asm.code[jump..], jump as u64, DecoderOptions::NONE).decode();
            assert_eq!((instruction.len(), instruction.near_branch_target()), (len, 0));
        }
        let mut asm = Assembler::new(f32);
        asm.set_mask(2, 0x7F);
        assert_eq!(asm.code[5..], [0xC5, 0xF8, 0x92, 0xD0], "kmovw k2, eax");
    }

    #[test]
    fn constants_stand_behind_the_code_on_whole_vectors() {
        let mut asm = Assembler::new(ElementType::F32);
        let (first, second) = (asm.constant([1; 32]), asm.constant([2; 32]));
        asm.load(Width::Y, 15, second);
        asm.load(Width::Y, 14, first);
        let _ = asm.constant([2; 32]);
        let code = asm.finish();
        let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
        for wanted in [2, 1] {
            let at = decoder.decode().memory_displacement64() as usize;
            assert_eq!((at % 32, code[at]), (0, wanted));
        }
        assert_eq!(code.len(), 96);
    }
}
