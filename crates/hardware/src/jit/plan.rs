//! Running kernels on views: operands that the kernel cannot read as they lie are copied first, and a result that it
//! cannot write in place is copied back.
//!
//! A [`Plan`] is one kernel for callers who run one shape many times. It checks views against the plan and never
//! allocates after a thread's first run.

#![allow(unsafe_code)]

use std::sync::Arc;

use super::key::{Form, GemmShape, Isa, Normal, Request, Scale, Strides, normal, padded};
use super::{Kernel, scratch};
use crate::element::Element;
use crate::view::{Matrix, MatrixMut};

/// Why there is no plan, or why it does not fit the operands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A size is zero or α is zero: there is nothing to generate.
    #[error("a product with {0} zero needs no kernel: scale or clear C instead")]
    Trivial(&'static str),
    /// Larger than kernels are generated for.
    #[error(
        "{m}×{n}×{k} or its strides are larger than kernels are generated for: use the backend for large matrices"
    )]
    TooLarge {
        /// Rows of C.
        m: usize,
        /// Columns of C.
        n: usize,
        /// The length of each sum.
        k: usize,
    },
    /// Code cannot be made or cannot run here and now.
    #[error("{0}")]
    Unavailable(String),
    /// A view differs from the plan.
    #[error("operand {0} does not have the shape and the strides of the plan: make a plan for it")]
    Mismatch(char),
}

/// The most elements of one operand.
const MAX_OPERAND: usize = 1 << 18;
/// The most multiplications of one kernel: 256³.
const MAX_WORK: usize = 1 << 24;
/// The longest side.
const MAX_SIDE: usize = 4096;

impl GemmShape {
    /// Whether kernels are generated for these sizes; strides may still be too large.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        let Self { m, n, k, .. } = *self;
        m.max(n).max(k) <= MAX_SIDE && (m * n).max(m * k).max(n * k) <= MAX_OPERAND && m * n * k <= MAX_WORK
    }
}

/// Where the operands of a call begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operands<T> {
    pub(crate) a: *const T,
    pub(crate) b: *const T,
    pub(crate) c: *mut T,
}

/// One product in normal form, with the strides of the caller's operands as the kernel names them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    normal: Normal,
    a: Strides,
    b: Strides,
    c: Strides,
}

impl Program {
    /// The program of a product with sizes above zero and α ≠ 0.
    ///
    /// # Errors
    /// It is too large.
    pub(crate) fn new(request: &Request, isa: Isa) -> Result<Self, PlanError> {
        let shape = request.shape;
        let normal = shape.is_within_limits().then(|| normal(request, isa)).flatten();
        let GemmShape { m, n, k, .. } = shape;
        let normal = normal.ok_or(PlanError::TooLarge { m, n, k })?;
        let GemmShape { a, b, c, .. } = if normal.swapped { shape.transposed() } else { shape };
        Ok(Self { normal, a, b, c })
    }

    pub(crate) fn key(&self) -> &super::KernelKey {
        &self.normal.key
    }

    fn sizes(&self) -> (usize, usize, usize) {
        let key = &self.normal.key;
        (key.m as usize, key.n as usize, key.k as usize)
    }

    /// Runs `kernel`, which is that of this program's key.
    ///
    /// # Safety
    /// The operands have the shape and strides of the shape that the program was made for, C overlaps neither A nor B,
    /// and the processor has the instruction set.
    #[inline]
    pub(crate) unsafe fn run<T: Element>(&self, kernel: &Kernel, at: Operands<T>, scales: &[T; 2]) {
        let at = if self.normal.swapped { Operands { a: at.b, b: at.a, c: at.c } } else { at };
        let Normal { pack_a, pack_b, copy_c, .. } = self.normal;
        if !(pack_a || pack_b || copy_c) {
            if kernel.scratch == 0 {
                // SAFETY: the operands are as the key says; the kernel uses no scratch memory.
                unsafe {
                    let none = std::ptr::null_mut();
                    kernel.call(at.a.cast(), at.b.cast(), at.c.cast(), scales.as_ptr().cast(), none);
                }
                return;
            }
            scratch::with(kernel.scratch, |memory| {
                let (a, b, c) = (at.a.cast(), at.b.cast(), at.c.cast());
                // SAFETY: the operands are as the key says; the memory is as long as the kernel asks.
                unsafe { kernel.call(a, b, c, scales.as_ptr().cast(), memory) };
            });
            return;
        }
        // SAFETY: as the caller promises.
        unsafe { self.run_on_copies(kernel, at, scales) };
    }

    /// # Safety
    /// As [`Program::run`], with the operands already swapped.
    unsafe fn run_on_copies<T: Element>(&self, kernel: &Kernel, mut at: Operands<T>, scales: &[T; 2]) {
        let (m, n, k) = self.sizes();
        let Normal { pack_a, pack_b, copy_c, ref key, .. } = self.normal;
        let size = std::mem::size_of::<T>();
        let own = kernel.scratch.next_multiple_of(64);
        // In the dot form B is one row: the vector.
        let (b_shape, b_strides) = match key.form {
            Form::Outer => ((k, n), self.b),
            Form::Dot => ((1, k), self.b.transposed()),
        };
        let (c_shape, c_strides) = match key.form {
            Form::Outer => ((m, n), self.c),
            Form::Dot => ((1, m), self.c.transposed()),
        };
        let room = |wanted: bool, (rows, columns): (usize, usize)| {
            if wanted { rows * padded(columns, T::TYPE) * size } else { 0 }
        };
        let (for_a, for_b) = (room(pack_a, (m, k)), room(pack_b, b_shape));
        let total = own + for_a + for_b + room(copy_c, c_shape);
        scratch::with(total, |memory| {
            // SAFETY: the offsets lie within `total` bytes, each part is as long as what is copied to it, and the
            // caller's operands are as the program says.
            unsafe {
                if pack_a {
                    at.a = packed(at.a, (m, k), self.a, memory.add(own).cast());
                }
                if pack_b {
                    at.b = packed(at.b, b_shape, b_strides, memory.add(own + for_a).cast());
                }
                let (target, copy) = (at.c, memory.add(own + for_a + for_b).cast::<T>());
                if copy_c {
                    if key.beta != Scale::Zero {
                        packed(at.c, c_shape, c_strides, copy);
                    }
                    at.c = copy;
                }
                kernel.call(at.a.cast(), at.b.cast(), at.c.cast(), scales.as_ptr().cast(), memory);
                if copy_c {
                    unpack(copy, c_shape, c_strides, target);
                }
            }
        });
    }
}

/// Copies a matrix so that its rows are contiguous, [`padded`] elements apart.
///
/// # Safety
/// `from` is a matrix of that shape and those strides; `to` has room for it and overlaps it nowhere.
unsafe fn packed<T: Element>(
    from: *const T,
    (rows, columns): (usize, usize),
    strides: Strides,
    to: *mut T,
) -> *const T {
    let line = padded(columns, T::TYPE);
    #[cfg(target_arch = "x86_64")]
    if strides.row == 1 && super::x86::transpose::fits::<T>(rows, columns) {
        // SAFETY: as the caller promises; every generated kernel needs AVX2.
        unsafe { super::x86::transpose::turn(from, strides.column, (rows, columns), to, line) };
        return to;
    }
    for j in 0..columns {
        for i in 0..rows {
            // SAFETY: (i, j) lies inside both.
            unsafe { *to.add(i * line + j) = *from.add(i * strides.row + j * strides.column) };
        }
    }
    to
}

/// Writes a copy made like that of [`packed`] back.
///
/// # Safety
/// As [`packed`], with the roles exchanged.
unsafe fn unpack<T: Element>(from: *const T, (rows, columns): (usize, usize), strides: Strides, to: *mut T) {
    let line = padded(columns, T::TYPE);
    for i in 0..rows {
        for j in 0..columns {
            // SAFETY: (i, j) lies inside both.
            unsafe { *to.add(i * strides.row + j * strides.column) = *from.add(i * line + j) };
        }
    }
}

/// One generated kernel with its scale factors: C ← α·A·B + β·C for one shape and set of strides.
#[derive(Debug, Clone)]
pub struct Plan<T> {
    shape: GemmShape,
    program: Program,
    kernel: Arc<Kernel>,
    scales: [T; 2],
}

impl<T: Element> Plan<T> {
    /// Generates the kernel for the best instruction set of this processor.
    ///
    /// # Errors
    /// There is nothing to generate, or it cannot be generated here.
    pub fn gemm(shape: GemmShape, alpha: T, beta: T) -> Result<Self, PlanError> {
        Self::gemm_for(super::detect().map_err(PlanError::Unavailable)?, shape, alpha, beta)
    }

    /// Generates the kernel for `isa`.
    ///
    /// # Errors
    /// As [`Plan::gemm`], or this processor does not have `isa`.
    pub fn gemm_for(isa: Isa, shape: GemmShape, alpha: T, beta: T) -> Result<Self, PlanError> {
        if !super::runs(isa) {
            return Err(PlanError::Unavailable(format!("this processor does not run {} code", isa.as_str())));
        }
        for (what, zero) in [("m", shape.m == 0), ("n", shape.n == 0), ("k", shape.k == 0)] {
            if zero {
                return Err(PlanError::Trivial(what));
            }
        }
        if alpha == T::ZERO {
            return Err(PlanError::Trivial("alpha"));
        }
        let program = Program::new(&Request::new(shape, alpha, beta), isa)?;
        let kernel = Kernel::generate(program.key()).map_err(PlanError::Unavailable)?;
        Ok(Self { shape, program, kernel: Arc::new(kernel), scales: [alpha, beta] })
    }

    /// C ← α·A·B + β·C.
    ///
    /// # Errors
    /// A view does not have the planned shape and strides.
    #[inline]
    pub fn run(&self, a: Matrix<'_, T>, b: Matrix<'_, T>, mut c: MatrixMut<'_, T>) -> Result<(), PlanError> {
        let GemmShape { m, n, k, a: of_a, b: of_b, c: of_c } = self.shape;
        // One branch for all: sizes and strides that differ leave a bit.
        let differs = |[rows, columns, row, column]: [usize; 4], wanted: (usize, usize, Strides)| {
            (rows ^ wanted.0) | (columns ^ wanted.1) | (row ^ wanted.2.row) | (column ^ wanted.2.column)
        };
        let a_differs = differs([a.rows(), a.columns(), a.row_stride(), a.column_stride()], (m, k, of_a));
        let b_differs = differs([b.rows(), b.columns(), b.row_stride(), b.column_stride()], (k, n, of_b));
        let c_differs = differs([c.rows(), c.columns(), c.row_stride(), c.column_stride()], (m, n, of_c));
        if a_differs | b_differs | c_differs != 0 {
            let operand = if a_differs != 0 {
                'A'
            } else if b_differs != 0 {
                'B'
            } else {
                'C'
            };
            return Err(PlanError::Mismatch(operand));
        }
        super::ready(self.key().isa).map_err(PlanError::Unavailable)?;
        let at = Operands { a: a.as_ptr(), b: b.as_ptr(), c: c.as_mut_ptr() };
        // SAFETY: the views have the planned shape and strides, a writable view shares no element with others, and the
        // instruction set was checked when the plan was made.
        unsafe { self.program.run(&self.kernel, at, &self.scales) };
        Ok(())
    }

    /// The machine code.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        self.kernel.code()
    }

    /// What the code is specialised to.
    #[must_use]
    pub fn key(&self) -> &super::KernelKey {
        self.program.key()
    }
}
