//! Parts of a row as vectors: which width holds them, and how the last part is read and written without touching what
//! lies beyond it.

use super::encode::{Action, Assembler, Memory, Operand, Vector, Width};
use crate::element::ElementType;
use crate::jit::key::Isa;

/// How a piece is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// All of the width.
    Whole,
    /// The lowest 4 or 8 bytes.
    Low(u8),
    /// The first lanes: of a mask register (AVX-512) or a vector of signs (AVX2).
    Lanes(u8),
}

/// Mask registers and 32 vector registers.
pub(super) fn has_masks(isa: Isa) -> bool {
    matches!(isa, Isa::Avx512 | Isa::Avx512Halves)
}

/// The widest vectors for rows of `count` elements.
pub(super) fn widest(isa: Isa, count: usize, element: ElementType) -> Width {
    let rest = count * element.bytes() % Width::Z.bytes();
    match isa {
        Isa::Avx512 => Width::Z,
        // No mixture of whole vectors and narrow ones.
        Isa::Avx512Halves if rest == 0 || rest > Width::Y.bytes() => Width::Z,
        _ => Width::Y,
    }
}

/// Up to one vector of elements that stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes from the start of the row.
    pub(super) offset: i32,
    pub(super) lanes: usize,
    pub(super) width: Width,
    pub(super) access: Access,
}

/// A row of `count` elements as pieces; lanes that need a mask take it from register `mask`.
pub(super) fn pieces(count: usize, element: ElementType, widest: Width, mask: u8) -> Vec<Piece> {
    let size = element.bytes();
    let whole = widest.bytes() / size;
    let mut all: Vec<Piece> = (0..count / whole)
        .map(|index| Piece {
            offset: (index * widest.bytes()) as i32,
            lanes: whole,
            width: widest,
            access: Access::Whole,
        })
        .collect();
    let rest = count % whole;
    if rest > 0 {
        let bytes = rest * size;
        let width = [Width::X, Width::Y, Width::Z].into_iter().find(|width| width.bytes() >= bytes);
        let width = width.unwrap_or(widest);
        let access = match bytes {
            4 => Access::Low(4),
            8 => Access::Low(8),
            _ if bytes == width.bytes() => Access::Whole,
            _ => Access::Lanes(mask),
        };
        all.push(Piece { offset: ((count - rest) * size) as i32, lanes: rest, width, access });
    }
    all
}

/// Whether one of them needs a mask.
pub(super) fn masked(pieces: &[Piece]) -> Option<Piece> {
    pieces.iter().copied().find(|piece| matches!(piece.access, Access::Lanes(_)))
}

/// Writes code that works on pieces.
#[derive(Debug)]
pub(super) struct Emitter {
    pub(super) asm: Assembler,
    pub(super) isa: Isa,
    pub(super) size: i32,
}

impl Emitter {
    pub(super) fn new(element: ElementType, isa: Isa) -> Self {
        Self { asm: Assembler::new(element), isa, size: element.bytes() as i32 }
    }

    /// Fills the mask that `piece` reads and writes through.
    pub(super) fn prepare_mask(&mut self, piece: Piece) {
        let Access::Lanes(mask) = piece.access else { return };
        if has_masks(self.isa) {
            self.asm.set_mask(mask, ((1_u32 << piece.lanes) - 1) as u16);
        } else {
            let bytes = piece.lanes * self.size as usize;
            let constant = self.asm.constant(std::array::from_fn(|at| if at < bytes { 0xFF } else { 0 }));
            self.asm.load(Width::Y, mask, constant);
        }
    }

    pub(super) fn load(&mut self, piece: Piece, to: Vector, from: Memory) {
        match piece.access {
            Access::Whole => self.asm.load(piece.width, to, from),
            Access::Low(bytes) => self.asm.load_low(bytes, to, from),
            Access::Lanes(mask) if has_masks(self.isa) => {
                self.asm.load_lanes(piece.width, to, from, mask);
            }
            Access::Lanes(mask) => self.asm.load_signed(piece.width, to, from, mask),
        }
    }

    pub(super) fn store(&mut self, piece: Piece, from: Vector, to: Memory) {
        match piece.access {
            Access::Whole => self.asm.store(piece.width, from, to),
            Access::Low(bytes) => self.asm.store_low(bytes, from, to),
            Access::Lanes(mask) if has_masks(self.isa) => {
                self.asm.store_lanes(piece.width, from, to, mask);
            }
            Access::Lanes(mask) => self.asm.store_signed(piece.width, from, to, mask),
        }
    }

    /// `action` with the piece at `from` as its last operand; `spare` may be overwritten.
    pub(super) fn act_on(
        &mut self,
        action: Action,
        piece: Piece,
        to: Vector,
        a: Vector,
        from: Memory,
        spare: Vector,
    ) {
        if piece.access == Access::Whole {
            self.asm.act(action, piece.width, to, a, Operand::Memory(from));
        } else {
            self.load(piece, spare, from);
            self.asm.act(action, piece.width, to, a, Operand::Register(spare));
        }
    }
}
