//! 8-bit products with 32-bit sums on AVX-512 VNNI.
//!
//! One instruction (`vpdpbusd`) multiplies four unsigned by four signed bytes and adds all four products to a 32-bit sum,
//! without saturation: results are exact. B is packed in groups of four steps of k by sixteen columns; rows of A are read
//! where they lie if they are lines of memory, and copied otherwise.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::blocked::with_buffers;
use crate::backend::{Backend, BackendId, Failure};
use crate::job::{GemmI8, Job, Op, Spec};
use crate::view::Matrix;

/// Exact 8-bit products.
#[derive(Debug, Clone, Copy)]
pub struct Vnni(());

/// Bytes of k that one instruction adds up for one element.
const GROUP: usize = 4;
/// Columns of one register.
const LANES: usize = 16;
/// The tile of sums: rows, and registers of columns.
const ROWS: usize = 8;
const REGISTERS: usize = 2;
/// The block of B that is packed: two of its panels fit L1, and all of it L2.
const K_BLOCK: usize = 1024;
const N_BLOCK: usize = 512;

impl Vnni {
    /// The backend, where the processor has the instructions.
    ///
    /// # Errors
    /// One sentence that says what is missing.
    pub fn open() -> Result<Self, String> {
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        if there {
            Ok(Self(()))
        } else {
            Err("needs AVX-512 VNNI, which this processor or its operating system does not offer".to_owned())
        }
    }
}

impl Backend for Vnni {
    fn id(&self) -> BackendId {
        BackendId::Vnni
    }

    fn supports(&self, spec: &Spec) -> bool {
        spec.op == Op::GemmI8
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        let Job::I8(gemm) = job else {
            return Err(Failure::Broken("VNNI multiplies 8-bit integers only".to_owned()));
        };
        // SAFETY: the token proves that the processor has the instructions.
        unsafe { product(gemm) };
        Ok(())
    }
}

/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn product(GemmI8 { a, b, c }: &mut GemmI8<'_>) {
    let (m, n, k) = (c.rows(), c.columns(), a.columns());
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        for i in 0..m {
            for j in 0..n {
                c.set(i, j, 0);
            }
        }
        return;
    }
    let strides = (c.row_stride(), c.column_stride());
    let c = c.as_mut_ptr();
    let depth = k.min(K_BLOCK).next_multiple_of(GROUP);
    let room = (n.min(N_BLOCK).next_multiple_of(LANES) * depth, ROWS * depth);
    with_buffers(room, |b_room: *mut i8, a_room: *mut i8| {
        for left in (0..n).step_by(N_BLOCK) {
            let columns = N_BLOCK.min(n - left);
            for from in (0..k).step_by(K_BLOCK) {
                let depth = K_BLOCK.min(k - from);
                // SAFETY: the rooms hold the largest block, rounded up; tiles lie inside C.
                unsafe {
                    pack_b(b.block(from, depth, left, columns), b_room);
                    for top in (0..m).step_by(ROWS) {
                        let a = a.block(top, ROWS.min(m - top), from, depth);
                        let c = c.wrapping_add(top * strides.0 + left * strides.1);
                        rows(a, a_room.cast(), b_room, columns, Sums { c, strides, add: from > 0 });
                    }
                }
            }
        }
    });
}

/// Packs B: panels of sixteen columns, each a line of groups; what is missing of the last group or panel is 0.
///
/// # Safety
/// `to` has room for the columns, rounded up to a panel, times the rows, rounded up to a group.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn pack_b(b: Matrix<'_, i8>, to: *mut i8) {
    let (k, n) = (b.rows(), b.columns());
    let groups = k.div_ceil(GROUP);
    let (row_stride, column_stride) = (b.row_stride(), b.column_stride());
    for left in (0..n).step_by(LANES) {
        let columns = LANES.min(n - left);
        for group in 0..groups {
            let steps = GROUP.min(k - group * GROUP);
            let from = b.as_ptr().wrapping_add(group * GROUP * row_stride + left * column_stride);
            // SAFETY: `steps` × `columns` of B can be read at `from`; the group has room for 64 bytes.
            unsafe {
                let to = to.add(left * groups * GROUP + group * GROUP * LANES);
                if column_stride == 1 {
                    interleave(from, row_stride, (steps, columns), to);
                } else {
                    for j in 0..LANES {
                        for p in 0..GROUP {
                            let there = j < columns && p < steps;
                            let at = from.wrapping_add(p * row_stride + j * column_stride);
                            *to.add(j * GROUP + p) = if there { *at } else { 0 };
                        }
                    }
                }
            }
        }
    }
}

/// Four lines of sixteen bytes, byte by byte: 0 of each, 1 of each and so on.
///
/// # Safety
/// `columns` bytes can be read at each of `steps` lines, and 64 written at `to`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn interleave(from: *const i8, line: usize, (steps, columns): (usize, usize), to: *mut i8) {
    let mask = u16::MAX >> (LANES - columns);
    // SAFETY: the mask leaves out the columns that are not there, and `steps` the lines.
    let read = |p: usize| unsafe {
        _mm_maskz_loadu_epi8(if p < steps { mask } else { 0 }, from.wrapping_add(p * line))
    };
    let (a, b, c, d) = (read(0), read(1), read(2), read(3));
    let (ab_low, ab_high) = (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
    let (cd_low, cd_high) = (_mm_unpacklo_epi8(c, d), _mm_unpackhi_epi8(c, d));
    let parts = [
        _mm_unpacklo_epi16(ab_low, cd_low),
        _mm_unpackhi_epi16(ab_low, cd_low),
        _mm_unpacklo_epi16(ab_high, cd_high),
        _mm_unpackhi_epi16(ab_high, cd_high),
    ];
    for (i, part) in parts.into_iter().enumerate() {
        // SAFETY: 64 bytes can be written.
        unsafe { _mm_storeu_si128(to.add(16 * i).cast(), part) };
    }
}

/// Where sums go.
#[derive(Debug, Clone, Copy)]
struct Sums {
    c: *mut i32,
    strides: (usize, usize),
    /// To what is there already.
    add: bool,
}

/// Up to [`ROWS`] rows of a block.
///
/// # Safety
/// `b` is packed for `columns`; `a_room` holds the rows of `a`, rounded up to groups; `sums` has a place for each.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn rows(a: Matrix<'_, u8>, a_room: *mut u8, b: *const i8, columns: usize, sums: Sums) {
    let (rows, k) = (a.rows(), a.columns());
    let depth = k.next_multiple_of(GROUP);
    // A group is read as one word: lines whose length is not a multiple of it are copied, with zeros at the end.
    let (a, line) = if a.column_stride() == 1 && k == depth {
        (a.as_ptr(), a.row_stride())
    } else {
        for i in 0..rows {
            for p in 0..depth {
                let at = a.as_ptr().wrapping_add(i * a.row_stride() + p * a.column_stride());
                // SAFETY: (i, p) is an element of A if p < k; the room holds `depth` bytes for each row.
                unsafe { *a_room.add(i * depth + p) = if p < k { *at } else { 0 } };
            }
        }
        (a_room.cast_const(), depth)
    };
    let whole = REGISTERS * LANES;
    for left in (0..columns).step_by(whole) {
        let size = (rows, whole.min(columns - left));
        let c = sums.c.wrapping_add(left * sums.strides.1);
        // SAFETY: the panels of these columns, and the places of their sums.
        unsafe {
            let panel = b.add(left * depth);
            let sums = Sums { c, ..sums };
            match (rows, size.1 > LANES) {
                (ROWS, true) => tile::<ROWS, REGISTERS>((a, line), panel, depth, size, sums),
                (ROWS, false) => tile::<ROWS, 1>((a, line), panel, depth, size, sums),
                (_, true) => each::<REGISTERS>((a, line), panel, depth, size, sums),
                (_, false) => each::<1>((a, line), panel, depth, size, sums),
            }
        }
    }
}

/// The rows that do not make up a tile, one by one.
///
/// # Safety
/// As for [`tile`], with `size.0` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn each<const V: usize>(
    (a, line): (*const u8, usize),
    b: *const i8,
    depth: usize,
    (rows, columns): (usize, usize),
    sums: Sums,
) {
    for i in 0..rows {
        let sums = Sums { c: sums.c.wrapping_add(i * sums.strides.0), ..sums };
        // SAFETY: row i of what the caller promises.
        unsafe { tile::<1, V>((a.wrapping_add(i * line), line), b, depth, (1, columns), sums) };
    }
}

/// `R` rows by `V` registers of columns.
///
/// # Safety
/// `depth` bytes, a multiple of a group, can be read at each of `R` lines of A and for each column of `V` panels of B;
/// `sums` has a place for `R` × `columns`, at most `V` registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize, const V: usize>(
    (a, line): (*const u8, usize),
    b: *const i8,
    depth: usize,
    (_, columns): (usize, usize),
    sums: Sums,
) {
    let mut registers = [[_mm512_setzero_si512(); V]; R];
    for p in (0..depth).step_by(GROUP) {
        let mut panels = [_mm512_setzero_si512(); V];
        for (v, panel) in panels.iter_mut().enumerate() {
            // SAFETY: group p of panel v.
            *panel = unsafe { _mm512_loadu_si512(b.add(v * LANES * depth + p * LANES).cast()) };
        }
        for (i, row) in registers.iter_mut().enumerate() {
            // SAFETY: four bytes of line i, on any address.
            let word = unsafe { a.add(i * line + p).cast::<i32>().read_unaligned() };
            let word = _mm512_set1_epi32(word);
            for v in 0..V {
                row[v] = _mm512_dpbusd_epi32(row[v], word, panels[v]);
            }
        }
    }
    for (i, row) in registers.iter().enumerate() {
        for (v, &register) in row.iter().enumerate() {
            let count = LANES.min(columns - v * LANES);
            let to = sums.c.wrapping_add(i * sums.strides.0 + v * LANES * sums.strides.1);
            // SAFETY: `count` places of row i.
            unsafe { write(to, sums.strides.1, count, register, sums.add) };
        }
    }
}

/// # Safety
/// `count` sums, 1 to 16, can be written at `to` (and read, with `add`), `step` apart.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn write(to: *mut i32, step: usize, count: usize, register: __m512i, add: bool) {
    let mask = u16::MAX >> (LANES - count);
    // SAFETY: the mask leaves out what is not there.
    unsafe {
        if step == 1 {
            let old = if add { _mm512_maskz_loadu_epi32(mask, to) } else { _mm512_setzero_si512() };
            return _mm512_mask_storeu_epi32(to, mask, _mm512_add_epi32(register, old));
        }
        let mut values = [0; LANES];
        _mm512_storeu_si512(values.as_mut_ptr().cast(), register);
        for (j, &value) in values.iter().enumerate().take(count) {
            let to = to.add(j * step);
            *to = if add { *to + value } else { value };
        }
    }
}
