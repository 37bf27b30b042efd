//! aarch64 SME: outer products in streaming mode, for any vector length.
//!
//! One step of the sum loads two vectors of a column of A and two of a row of B and adds their four outer products to
//! four ZA tiles; predicates cut the edges, so nothing is padded and nothing outside the views is touched. A factor
//! whose neighbours do not stand side by side in that direction is copied block by block first. The kernels are
//! private-ZA functions (AAPCS64): entered and left with PSTATE.SM = PSTATE.ZA = 0, d8 to d15 kept. Every SVE
//! instruction lies in streaming mode, because a processor may have SME without SVE.

#![allow(unsafe_code)]

use std::arch::naked_asm;

use super::{Plain, batched, better_transposed, rank_update, scale, with_scratch};
use crate::backend::{Backend, BackendId, Failure};
use crate::element::{Element, ElementType};
use crate::job::{GemmI8, Job, Op, Spec, Task};
use crate::view::{Matrix, MatrixMut};

/// The longest sum of one pass over C, and the most rows and columns of C that are packed at once.
const DEPTH: usize = 512;
const BLOCK: usize = 512;

/// The SME backend.
#[derive(Debug, Clone, Copy)]
pub struct Sme {
    /// Whether ZA has tiles of `f64` (FEAT_SME_F64F64).
    doubles: bool,
    /// Whether the 8-bit product is exact: the emulator QEMU 7.2 runs USMOPA and drops half of the elements.
    bytes: bool,
}

impl Sme {
    /// The backend, where the processor and the system have SME.
    ///
    /// # Errors
    /// They do not.
    pub fn open() -> Result<Self, String> {
        if !system::has_sme() {
            return Err("needs an aarch64 processor and system with SME (FEAT_SME)".to_owned());
        }
        Ok(Self { doubles: system::has_doubles(), bytes: bytes_are_exact() })
    }

    /// Bits of a streaming vector (SVL): a ZA tile of `f32` is SVL / 32 square.
    #[must_use]
    pub fn vector_bits(&self) -> usize {
        8 * vector_bytes()
    }

    /// Whether there are tiles of `f64` (FEAT_SME_F64F64).
    #[must_use]
    pub fn has_doubles(&self) -> bool {
        self.doubles
    }
}

impl Backend for Sme {
    fn id(&self) -> BackendId {
        BackendId::Sme
    }

    fn supports(&self, spec: &Spec) -> bool {
        let element = match spec.element {
            ElementType::F32 => true,
            ElementType::F64 => self.doubles,
            ElementType::I8 => self.bytes,
        };
        // A product with one column uses one column of a tile: NEON is better at it.
        element && matches!(spec.op, Op::Gemm | Op::BatchedGemm | Op::Syrk | Op::GemmI8)
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        za_is_free().map_err(Failure::Broken)?;
        match job {
            Job::F32(task) => run(task),
            Job::F64(task) if self.doubles => run(task),
            Job::F64(_) => Err(Failure::Broken("this processor has no ZA tiles of f64".to_owned())),
            Job::I8(gemm) if self.bytes => {
                product_i8(gemm);
                Ok(())
            }
            Job::I8(_) => {
                Err(Failure::Broken("the 8-bit outer product of this processor is not exact".to_owned()))
            }
        }
    }
}

fn run<T: OuterProduct>(task: &mut Task<'_, T>) -> Result<(), Failure> {
    match task {
        Task::Gemm(gemm) => product(gemm.alpha, gemm.a, gemm.b, gemm.beta, gemm.c.reborrow()),
        Task::BatchedGemm(all) => batched(all, product),
        Task::Syrk(syrk) => rank_update(syrk, product),
        _ => return Err(Failure::Broken("the SME backend runs products only".to_owned())),
    }
    Ok(())
}

/// C ← α·A·B + β·C.
fn product<T: OuterProduct>(alpha: T, a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, mut c: MatrixMut<'_, T>) {
    if c.rows() == 0 || c.columns() == 0 {
        return;
    }
    if alpha == T::ZERO || a.columns() == 0 {
        scale(beta, &mut c);
    } else if better_transposed(&c) {
        blocked_product(alpha, b.transposed(), a.transposed(), beta, c.transposed());
    } else {
        blocked_product(alpha, a, b, beta, c);
    }
}

/// C ← α·A·B + β·C for α ≠ 0 and no empty operand, block by block, each block's factors packed where they must be.
fn blocked_product<T: OuterProduct>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    mut c: MatrixMut<'_, T>,
) {
    let (m, n, k) = (c.rows(), c.columns(), a.columns());
    // Rows of Aᵀ and of B: what the kernel loads vectors of.
    let a = a.transposed();
    let packed = |matrix: &Matrix<'_, T>, width: usize| {
        if matrix.column_stride() == 1 { 0 } else { BLOCK.min(width) * DEPTH.min(k) }
    };
    let apart = if c.column_stride() == 1 { 0 } else { BLOCK.min(m) * BLOCK.min(n) };
    with_scratch(
        [packed(&a, m), packed(&b, n), apart],
        |pack_a: &mut [T], pack_b: &mut [T], apart: &mut [T]| {
            for p in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - p);
                let beta = if p == 0 { beta } else { T::ONE };
                for j in (0..n).step_by(BLOCK) {
                    let columns = BLOCK.min(n - j);
                    let b = by_rows(b.block(p, depth, j, columns), pack_b);
                    for i in (0..m).step_by(BLOCK) {
                        let rows = BLOCK.min(m - i);
                        let a = by_rows(a.block(p, depth, i, rows), pack_a);
                        let below = c.reborrow().split_rows(i).1.split_rows(rows).0;
                        let block = below.split_columns(j).1.split_columns(columns).0;
                        block_product(alpha, a, b, beta, block, apart);
                    }
                }
            }
        },
    );
}

/// One block of C; through `apart` where the elements of its rows do not stand side by side.
fn block_product<T: OuterProduct>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    mut c: MatrixMut<'_, T>,
    apart: &mut [T],
) {
    if c.column_stride() == 1 {
        return outer_products(alpha, a, b, beta, c);
    }
    let (rows, columns) = (c.rows(), c.columns());
    let mut product = MatrixMut::row_major(apart, rows, columns).expect("the block fits its memory");
    outer_products(alpha, a, b, T::ZERO, product.reborrow());
    for i in 0..rows {
        for j in 0..columns {
            let value = product.at(i, j);
            let value = if beta == T::ZERO { value } else { beta.mul_add(c.at(i, j), value) };
            c.set(i, j, value);
        }
    }
}

/// C ← α·Aᵀ·B + β·C, all three with rows whose elements stand side by side.
fn outer_products<T: OuterProduct>(
    alpha: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    mut c: MatrixMut<'_, T>,
) {
    let arguments = Arguments {
        m: c.rows(),
        n: c.columns(),
        k: a.rows(),
        a: a.as_ptr().cast(),
        a_step: a.row_stride() * size_of::<T>(),
        b: b.as_ptr().cast(),
        b_step: b.row_stride() * size_of::<T>(),
        c: c.as_mut_ptr().cast(),
        c_step: c.row_stride() * size_of::<T>(),
        add: usize::from(beta != T::ZERO),
        alpha,
        beta,
    };
    // SAFETY: the views cover what the arguments describe, none is empty, and the backend exists only with SME.
    unsafe { T::kernel(&raw const arguments) };
}

/// The block itself where the elements of its rows stand side by side, or else a copy where they do.
fn by_rows<'a, T: OuterProduct>(block: Matrix<'a, T>, memory: &'a mut [T]) -> Matrix<'a, T> {
    if block.column_stride() == 1 {
        return block;
    }
    let (rows, columns) = (block.rows(), block.columns());
    for (i, row) in memory.chunks_exact_mut(columns).take(rows).enumerate() {
        for (j, element) in row.iter_mut().enumerate() {
            *element = block.at(i, j);
        }
    }
    Matrix::row_major(memory, rows, columns).expect("the block fits its memory")
}

/// C ← A·B of 8-bit integers, block by block.
fn product_i8(GemmI8 { a, b, c }: &mut GemmI8<'_>) {
    let (m, n, k) = (c.rows(), c.columns(), a.columns());
    // Groups of four terms of a sum are padded with zeros.
    let group = GROUP * DEPTH.min(k.div_ceil(GROUP));
    let lengths = [BLOCK.min(m) * group, BLOCK.min(n) * group, BLOCK.min(m) * BLOCK.min(n)];
    with_scratch(lengths, |pack_a: &mut [u8], pack_b: &mut [i8], result: &mut [i32]| {
        for i in (0..m).step_by(BLOCK) {
            let rows = BLOCK.min(m - i);
            for j in (0..n).step_by(BLOCK) {
                let columns = BLOCK.min(n - j);
                let result = &mut result[..rows * columns];
                result.fill(0);
                for p in (0..k).step_by(GROUP * DEPTH) {
                    let depth = (GROUP * DEPTH).min(k - p);
                    pack_groups(a.block(i, rows, p, depth), pack_a);
                    pack_groups(b.block(p, depth, j, columns).transposed(), pack_b);
                    outer_products_i8((rows, columns, depth.div_ceil(GROUP)), pack_a, pack_b, result);
                }
                for (at, &sum) in result.iter().enumerate() {
                    c.set(i + at / columns, j + at % columns, sum);
                }
            }
        }
    });
}

/// Whether a product of two columns of two rows comes out right.
fn bytes_are_exact() -> bool {
    let (a, b, mut c) = ([255, 1, 2, 3, 4, 5, 6, 7], [-128, 1, 0, 0, 1, 1, 1, 1], [0; 4]);
    outer_products_i8((2, 2, 1), &a, &b, &mut c);
    c == [255 * -128 + 1, 261, -507, 22]
}

/// Terms of a sum that one integer outer product adds up.
const GROUP: usize = 4;

/// Copies the rows of `lines` so that four neighbours of each stand side by side, then the same of the next row.
fn pack_groups<T: Plain + Default>(lines: Matrix<'_, T>, out: &mut [T]) {
    let (width, depth) = (lines.rows(), lines.columns());
    for (p, step) in (0..depth).step_by(GROUP).zip(out.chunks_exact_mut(GROUP * width)) {
        for (line, group) in step.chunks_exact_mut(GROUP).enumerate() {
            for (q, element) in group.iter_mut().enumerate() {
                *element = if p + q < depth { lines.at(line, p + q) } else { T::default() };
            }
        }
    }
}

/// C += A·B of packed groups, C by rows.
fn outer_products_i8((m, n, groups): (usize, usize, usize), a: &[u8], b: &[i8], c: &mut [i32]) {
    assert!(a.len() >= m * groups * GROUP && b.len() >= n * groups * GROUP && c.len() >= m * n);
    let arguments = Arguments {
        m,
        n,
        k: groups,
        a: a.as_ptr(),
        a_step: m * GROUP,
        b: b.as_ptr().cast(),
        b_step: n * GROUP,
        c: c.as_mut_ptr().cast(),
        c_step: n * size_of::<i32>(),
        add: 1,
        // Integers are not scaled.
        alpha: 1_u32,
        beta: 1,
    };
    // SAFETY: the slices are as long as the arguments say, none is empty, and the backend exists only with SME.
    unsafe { product_i32(&raw const arguments) };
}

/// What a kernel reads: C ← α·Aᵀ·B + β·C (or without β·C where `add` is 0). Steps are bytes from one row to the next.
#[repr(C)]
struct Arguments<T> {
    m: usize,
    n: usize,
    k: usize,
    a: *const u8,
    a_step: usize,
    b: *const u8,
    b_step: usize,
    c: *mut u8,
    c_step: usize,
    add: usize,
    alpha: T,
    beta: T,
}

/// A type with outer products.
trait OuterProduct: Element + Plain {
    /// Runs the kernel.
    ///
    /// # Safety
    /// The processor has the instructions, m, n and k are above zero, and the arguments describe matrices that may be
    /// read and one that may be written.
    unsafe fn kernel(arguments: *const Arguments<Self>);
}

impl OuterProduct for f32 {
    unsafe fn kernel(arguments: *const Arguments<Self>) {
        // SAFETY: as the caller promises.
        unsafe { product_f32(arguments) }
    }
}

impl OuterProduct for f64 {
    unsafe fn kernel(arguments: *const Arguments<Self>) {
        // SAFETY: as the caller promises.
        unsafe { product_f64(arguments) }
    }
}

/// Bytes of a streaming vector. Only where there is SME.
fn vector_bytes() -> usize {
    #[unsafe(naked)]
    extern "C" fn rdsvl() -> usize {
        naked_asm!(".arch_extension sme", "rdsvl x0, #1", "ret")
    }
    rdsvl()
}

/// Whether a kernel may use ZA: the content of no caller waits to be saved by whoever uses it next (AAPCS64, "ZA lazy
/// saving scheme"). Only where there is SME.
///
/// # Errors
/// One sentence, where it does.
pub(crate) fn za_is_free() -> Result<(), String> {
    if dormant_za() == 0 {
        return Ok(());
    }
    Err("a caller of this thread has live ZA state to be saved".to_owned())
}

/// TPIDR2_EL0: not zero while a caller's ZA content waits.
fn dormant_za() -> usize {
    #[unsafe(naked)]
    extern "C" fn tpidr2() -> usize {
        naked_asm!(".arch_extension sme", "mrs x0, TPIDR2_EL0", "ret")
    }
    tpidr2()
}

/// A kernel. x13 and x14 are the row and column of the four tiles, x15 and x16 the places of A (or C) and B, x17 counts
/// steps (or limits rows), w12 selects the slice of a tile. p1 and p2 select rows, p3 and p4 columns.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident($scale:ty), $extension:literal, lane $t:literal, bytes $shift:literal,
     $count:literal, $load:literal, $store:literal, $replicate:literal,
     multiply [$($multiply:literal),*], scale [$($factor:literal),*], add [$($add:literal),*]) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name(arguments: *const Arguments<$scale>) {
            naked_asm!(
                concat!(".arch_extension ", $extension),
                "stp d8, d9, [sp, #-64]!",
                "stp d10, d11, [sp, #16]",
                "stp d12, d13, [sp, #32]",
                "stp d14, d15, [sp, #48]",
                "ldp x1, x2, [x0]",
                "ldp x3, x4, [x0, #16]",
                "ldp x5, x6, [x0, #32]",
                "ldp x7, x8, [x0, #48]",
                "ldp x9, x10, [x0, #64]",
                "smstart",
                concat!("ptrue p0.", $t),
                concat!($replicate, " {{z30.", $t, "}}, p0/z, [x0, #80]"),
                concat!($replicate, " {{z31.", $t, "}}, p0/z, [x0, #80 + (1 << ", $shift, ")]"),
                "ptrue p0.b",
                concat!($count, " x11"),
                "mov x13, #0",
                // For every two tiles of rows of C …
                "2:",
                "add x15, x13, x11",
                concat!("whilelo p1.", $t, ", x13, x1"),
                concat!("whilelo p2.", $t, ", x15, x1"),
                "mov x14, #0",
                // … and every two of columns:
                "3:",
                "add x16, x14, x11",
                concat!("whilelo p3.", $t, ", x14, x2"),
                concat!("whilelo p4.", $t, ", x16, x2"),
                concat!("add x15, x4, x13, lsl #", $shift),
                concat!("add x16, x6, x14, lsl #", $shift),
                "mov x17, x3",
                "zero {{za}}",
                "4:",
                concat!($load, " {{z0.", $t, "}}, p1/z, [x15]"),
                concat!($load, " {{z1.", $t, "}}, p2/z, [x15, #1, mul vl]"),
                concat!($load, " {{z2.", $t, "}}, p3/z, [x16]"),
                concat!($load, " {{z3.", $t, "}}, p4/z, [x16, #1, mul vl]"),
                "add x15, x15, x5",
                "add x16, x16, x7",
                $($multiply,)*
                "subs x17, x17, #1",
                "b.ne 4b",
                // The rows of the upper two tiles, then those of the lower two.
                "madd x15, x13, x9, x8",
                concat!("add x15, x15, x14, lsl #", $shift),
                "sub x16, x1, x13",
                "cmp x16, x11",
                "csel x17, x16, x11, lo",
                "mov x12, #0",
                "5:",
                concat!("mova z0.", $t, ", p0/m, za0h.", $t, "[w12, 0]"),
                concat!("mova z1.", $t, ", p0/m, za1h.", $t, "[w12, 0]"),
                $($factor,)*
                "cbz x10, 6f",
                concat!($load, " {{z2.", $t, "}}, p3/z, [x15]"),
                concat!($load, " {{z3.", $t, "}}, p4/z, [x15, #1, mul vl]"),
                $($add,)*
                "6:",
                concat!($store, " {{z0.", $t, "}}, p3, [x15]"),
                concat!($store, " {{z1.", $t, "}}, p4, [x15, #1, mul vl]"),
                "add x15, x15, x9",
                "add x12, x12, #1",
                "cmp x12, x17",
                "b.lo 5b",
                "subs x16, x16, x11",
                "b.ls 9f",
                "cmp x16, x11",
                "csel x17, x16, x11, lo",
                "mov x12, #0",
                "7:",
                concat!("mova z0.", $t, ", p0/m, za2h.", $t, "[w12, 0]"),
                concat!("mova z1.", $t, ", p0/m, za3h.", $t, "[w12, 0]"),
                $($factor,)*
                "cbz x10, 8f",
                concat!($load, " {{z2.", $t, "}}, p3/z, [x15]"),
                concat!($load, " {{z3.", $t, "}}, p4/z, [x15, #1, mul vl]"),
                $($add,)*
                "8:",
                concat!($store, " {{z0.", $t, "}}, p3, [x15]"),
                concat!($store, " {{z1.", $t, "}}, p4, [x15, #1, mul vl]"),
                "add x15, x15, x9",
                "add x12, x12, #1",
                "cmp x12, x17",
                "b.lo 7b",
                "9:",
                "add x14, x14, x11, lsl #1",
                "cmp x14, x2",
                "b.lo 3b",
                "add x13, x13, x11, lsl #1",
                "cmp x13, x1",
                "b.lo 2b",
                "smstop",
                "ldp d10, d11, [sp, #16]",
                "ldp d12, d13, [sp, #32]",
                "ldp d14, d15, [sp, #48]",
                "ldp d8, d9, [sp], #64",
                "ret",
            )
        }
    };
}

kernel!(
    /// C ← α·Aᵀ·B + β·C of `f32`.
    product_f32(f32), "sme", lane "s", bytes "2", "cntw", "ld1w", "st1w", "ld1rw",
    multiply [
        "fmopa za0.s, p1/m, p3/m, z0.s, z2.s",
        "fmopa za1.s, p1/m, p4/m, z0.s, z3.s",
        "fmopa za2.s, p2/m, p3/m, z1.s, z2.s",
        "fmopa za3.s, p2/m, p4/m, z1.s, z3.s"
    ],
    scale ["fmul z0.s, z0.s, z30.s", "fmul z1.s, z1.s, z30.s"],
    add ["fmla z0.s, p0/m, z2.s, z31.s", "fmla z1.s, p0/m, z3.s, z31.s"]
);

kernel!(
    /// C ← α·Aᵀ·B + β·C of `f64` (FEAT_SME_F64F64).
    product_f64(f64), "sme-f64f64", lane "d", bytes "3", "cntd", "ld1d", "st1d", "ld1rd",
    multiply [
        "fmopa za0.d, p1/m, p3/m, z0.d, z2.d",
        "fmopa za1.d, p1/m, p4/m, z0.d, z3.d",
        "fmopa za2.d, p2/m, p3/m, z1.d, z2.d",
        "fmopa za3.d, p2/m, p4/m, z1.d, z3.d"
    ],
    scale ["fmul z0.d, z0.d, z30.d", "fmul z1.d, z1.d, z30.d"],
    add ["fmla z0.d, p0/m, z2.d, z31.d", "fmla z1.d, p0/m, z3.d, z31.d"]
);

kernel!(
    /// C ← Aᵀ·B + C of unsigned and signed bytes in groups of four. Lanes that are not selected are loaded as zeros,
    /// so that p0 may select them.
    product_i32(u32), "sme", lane "s", bytes "2", "cntw", "ld1w", "st1w", "ld1rw",
    multiply [
        "usmopa za0.s, p0/m, p0/m, z0.b, z2.b",
        "usmopa za1.s, p0/m, p0/m, z0.b, z3.b",
        "usmopa za2.s, p0/m, p0/m, z1.b, z2.b",
        "usmopa za3.s, p0/m, p0/m, z1.b, z3.b"
    ],
    scale [],
    add ["add z0.s, z0.s, z2.s", "add z1.s, z1.s, z3.s"]
);

/// What the operating system says of the processor.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    const HWCAP2_SME: u64 = 1 << 23;
    const HWCAP2_SME_F64F64: u64 = 1 << 25;

    fn capabilities() -> u64 {
        // SAFETY: reads a constant of this process.
        unsafe { libc::getauxval(libc::AT_HWCAP2) }
    }

    pub(super) fn has_sme() -> bool {
        capabilities() & HWCAP2_SME != 0
    }

    pub(super) fn has_doubles() -> bool {
        capabilities() & HWCAP2_SME_F64F64 != 0
    }
}

/// What the operating system says of the processor.
#[cfg(target_os = "macos")]
mod system {
    fn is_set(name: &std::ffi::CStr) -> bool {
        let (mut value, mut length) = (0_i32, size_of::<i32>());
        // SAFETY: the name ends with a zero, and `length` is the room behind `value`.
        let code = unsafe {
            libc::sysctlbyname(
                name.as_ptr(),
                (&raw mut value).cast(),
                &raw mut length,
                std::ptr::null_mut(),
                0,
            )
        };
        code == 0 && value != 0
    }

    pub(super) fn has_sme() -> bool {
        is_set(c"hw.optional.arm.FEAT_SME")
    }

    pub(super) fn has_doubles() -> bool {
        is_set(c"hw.optional.arm.SME_F64F64")
    }
}

/// Elsewhere nobody has said how to ask.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
mod system {
    pub(super) fn has_sme() -> bool {
        false
    }

    pub(super) fn has_doubles() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jit::a64::tests::{ALL_KEPT, kept_registers, outside_streaming_mode};

    const RET: u32 = 0xD65F_03C0;

    fn kernels() -> [(&'static str, *const u8); 3] {
        [
            ("f32", product_f32 as *const u8),
            ("f64", product_f64 as *const u8),
            ("i32", product_i32 as *const u8),
        ]
    }

    #[test]
    fn sve_instructions_of_the_kernels_lie_in_streaming_mode_only() {
        for (name, start) in kernels() {
            let mut words = Vec::new();
            while words.last() != Some(&RET) {
                assert!(words.len() < 1000, "{name} never returns");
                // SAFETY: a kernel is a run of instructions that ends with its only `ret`.
                words.push(unsafe { start.cast::<u32>().add(words.len()).read() });
            }
            assert!(words.len() > 80, "{name} has {} instructions", words.len());
            assert_eq!(outside_streaming_mode(&words), [0_u32; 0], "{name}");
        }
    }

    #[test]
    fn kernels_keep_the_registers_of_their_caller() {
        if Sme::open().is_err() {
            return;
        }
        // Wide enough for every element type.
        let (a, mut c) = ([0_u64; 64], [0_u64; 64]);
        let (place, result) = (a.as_ptr().cast(), c.as_mut_ptr().cast());
        let arguments = Arguments {
            m: 3,
            n: 5,
            k: 4,
            a: place,
            a_step: 64,
            b: place,
            b_step: 64,
            c: result,
            c_step: 64,
            add: 1,
            alpha: 1.0_f64,
            beta: 1.0,
        };
        for (name, start) in kernels() {
            let place = (&raw const arguments).addr();
            // SAFETY: the arguments describe operands inside the arrays, whatever the type.
            let kept = unsafe { kept_registers(start, [place, 0, 0, 0, 0]) };
            assert_eq!(kept, ALL_KEPT, "{name}");
        }
        assert_eq!(c, [0; 64]);
    }

    #[test]
    fn the_backend_is_open_exactly_where_the_system_has_sme() {
        assert_eq!(Sme::open().is_ok(), system::has_sme());
        if let Ok(sme) = Sme::open() {
            assert!([128, 256, 512, 1024, 2048].contains(&sme.vector_bits()), "{}", sme.vector_bits());
            assert_eq!(dormant_za(), 0);
        }
    }
}
