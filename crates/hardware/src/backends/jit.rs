//! Kernels generated at run time for the shape at hand: GEMM, GEMV, batched GEMM, dot products.
//!
//! It looks the kernel up (or has it generated) and runs it; scaling by zero and empty sums need no kernel. It never
//! allocates for a shape that the thread has run before.

#![allow(unsafe_code)]

use super::scale;
use crate::backend::{Backend, BackendId, Failure};
use crate::element::{Element, ElementType};
use crate::jit::{
    self, Cache, CacheStatistics, GemmShape, Isa, Kernel, Limits, Operands, Program, Request, Strides,
};
use crate::job::{BatchedGemm, Dot, Gemm, Job, Op, Spec, Task};
use crate::view::Extent;

/// The backend of generated kernels.
#[derive(Debug)]
pub struct Jit {
    cache: Cache,
}

impl Jit {
    /// For the best instruction set of this processor.
    ///
    /// # Errors
    /// One sentence: the processor has none that code is generated for, or memory cannot be made executable.
    pub fn open() -> Result<Self, String> {
        Self::with(jit::detect()?, Limits::default())
    }

    /// For one instruction set, with a cache of its own.
    ///
    /// # Errors
    /// As [`Jit::open`].
    pub fn with(isa: Isa, limits: Limits) -> Result<Self, String> {
        if !jit::runs(isa) {
            return Err(format!("this processor does not run {} code: choose another", isa.as_str()));
        }
        let cache = Cache::new(isa, limits);
        // The smallest kernel there is: whether memory can be made executable is known now, not at the first job.
        cache.with(&Request::new(GemmShape::row_major(1, 1, 1), 1.0, 0.0), |_, _| ())?;
        Ok(Self { cache })
    }

    /// The instruction set that code is generated for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.cache.isa()
    }

    /// What the cache of kernels did so far.
    #[must_use]
    pub fn statistics(&self) -> CacheStatistics {
        self.cache.statistics()
    }

    fn task<T: Element>(&self, task: &mut Task<'_, T>) -> Result<(), Failure> {
        match task {
            Task::Gemm(gemm) => self.gemm(gemm),
            Task::BatchedGemm(batch) => self.batch(batch),
            Task::Dot(dot) => self.dot(dot),
            _ => Err(Failure::Broken(
                "kernels are not generated for this operation: use another backend".to_owned(),
            )),
        }
    }

    fn gemm<T: Element>(&self, Gemm { alpha, a, b, beta, c }: &mut Gemm<'_, T>) -> Result<(), Failure> {
        let (m, n, k) = (c.rows(), c.columns(), a.columns());
        let strides = |row, column| Strides { row, column };
        let shape = GemmShape {
            m,
            n,
            k,
            a: strides(a.row_stride(), a.column_stride()),
            b: strides(b.row_stride(), b.column_stride()),
            c: strides(c.row_stride(), c.column_stride()),
        };
        if m == 0 || n == 0 {
            return Ok(());
        }
        if k == 0 || *alpha == T::ZERO {
            scale(*beta, c);
            return Ok(());
        }
        let at = Operands { a: a.as_ptr(), b: b.as_ptr(), c: c.as_mut_ptr() };
        let run = |program: &Program, kernel: &Kernel| {
            // SAFETY: the views have the shape and strides of the program, a writable view shares no element with
            // others, and `with` checked the instruction set.
            unsafe { program.run(kernel, at, &[*alpha, *beta]) };
        };
        self.cache.with(&Request::new(shape, *alpha, *beta), run).map_err(Failure::Broken)
    }

    fn batch<T: Element>(&self, batch: &mut BatchedGemm<'_, T>) -> Result<(), Failure> {
        let BatchedGemm { alpha, a, b, beta, c } = batch;
        let (Extent { rows: m, columns: n, .. }, k) = (c.extent(), a.extent().columns);
        if m == 0 || n == 0 || c.count() == 0 {
            return Ok(());
        }
        if k == 0 || *alpha == T::ZERO {
            for index in 0..c.count() {
                scale(*beta, &mut c.matrix(index));
            }
            return Ok(());
        }
        let strides = |extent: Extent| Strides { row: extent.row_stride, column: extent.column_stride };
        let shape =
            GemmShape { m, n, k, a: strides(a.extent()), b: strides(b.extent()), c: strides(c.extent()) };
        let request = Request::new(shape, *alpha, *beta);
        let run = |program: &Program, kernel: &Kernel| {
            for index in 0..c.count() {
                let (a, b) = (a.matrix(index).as_ptr(), b.matrix(index).as_ptr());
                let at = Operands { a, b, c: c.matrix(index).as_mut_ptr() };
                // SAFETY: as for one matrix; the matrices of a batch have one shape and one set of strides.
                unsafe { program.run(kernel, at, &[*alpha, *beta]) };
            }
        };
        self.cache.with(&request, run).map_err(Failure::Broken)
    }

    fn dot<T: Element>(&self, Dot { x, y, result }: &mut Dot<'_, T>) -> Result<(), Failure> {
        if x.rows() == 0 {
            **result = T::ZERO;
            return Ok(());
        }
        let shape = GemmShape {
            a: Strides { row: 1, column: x.row_stride() },
            b: Strides { row: y.row_stride(), column: 1 },
            ..GemmShape::row_major(1, 1, x.rows())
        };
        let at = Operands { a: x.as_ptr(), b: y.as_ptr(), c: std::ptr::from_mut::<T>(result) };
        let run = |program: &Program, kernel: &Kernel| {
            // SAFETY: as for a product: x as one row, y as one column.
            unsafe { program.run(kernel, at, &[T::ONE, T::ZERO]) };
        };
        self.cache.with(&Request::new(shape, T::ONE, T::ZERO), run).map_err(Failure::Broken)
    }
}

impl Backend for Jit {
    fn id(&self) -> BackendId {
        BackendId::Jit
    }

    fn supports(&self, spec: &Spec) -> bool {
        let operation = matches!(spec.op, Op::Gemm | Op::Gemv | Op::BatchedGemm | Op::Dot);
        operation
            && spec.element != ElementType::I8
            && GemmShape::row_major(spec.m, spec.n, spec.k).is_within_limits()
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        jit::ready(self.isa()).map_err(Failure::Broken)?;
        match job {
            Job::F32(task) => self.task(task),
            Job::F64(task) => self.task(task),
            Job::I8(_) => Err(Failure::Broken(
                "kernels are not generated for 8-bit integers: use another backend".to_owned(),
            )),
        }
    }

    fn cache_statistics(&self) -> Option<CacheStatistics> {
        Some(self.statistics())
    }
}
