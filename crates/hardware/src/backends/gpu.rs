//! Matrix products on a GPU: one tiled compute shader through wgpu, over Vulkan or Metal.
//!
//! The shader computes sums of products; scaling by α, adding β·C and writing into the caller's strides happen on the
//! processor, so a product that fails leaves C untouched. Whether the driver's arithmetic treats NaN, infinities and
//! overflow as IEEE 754 does is tried out when the GPU is opened; where it does not, operands that are not finite and
//! sums that overflow are refused, never computed wrongly. Subnormal numbers may count as zero.

#![allow(unsafe_code)]

mod buffers;
mod device;

use std::sync::{Arc, OnceLock};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::backend::{Backend, BackendId, Failure};
use crate::element::{Element, ElementType};
use crate::job::{BatchedGemm, Gemm, Job, Op, Spec, Syrk, Task};
use crate::view::Matrix;
pub(crate) use buffers::{Lease, Pending, Role};
pub use device::{Adapter, AdapterKind, Transfer};
pub(crate) use device::{Binding, Device, Fault, Pipelines};

const SOURCE: &str = include_str!("gpu/product.wgsl");
const BINDINGS: [Binding; 4] = [Binding::Uniform, Binding::Input, Binding::Input, Binding::Output];
/// Results that a workgroup computes in each direction; as in the shader.
const TILE: usize = 64;
/// Workgroups in each direction, by the smallest limit that any device may have.
const WORKGROUPS_MAX: usize = 65_535;

/// What the shader can be made of.
trait Real: Element + FromBytes + IntoBytes + Immutable {}
impl Real for f32 {}
impl Real for f64 {}

/// A GPU that is open.
#[derive(Debug, Clone)]
pub struct Gpu(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    device: Arc<Device>,
    f32: Pipelines<1>,
    f64: Option<Pipelines<1>>,
    /// NaN, infinities and overflow come out as IEEE 754 says.
    ieee: bool,
}

impl Gpu {
    /// The GPU of this process, opened once. It stays as it is, also when the GPU is gone.
    ///
    /// # Errors
    /// In one sentence, why there is none.
    pub fn shared() -> Result<Self, String> {
        static SHARED: OnceLock<Result<Gpu, String>> = OnceLock::new();
        SHARED.get_or_init(Self::open).clone()
    }

    /// Opens the best GPU of this machine on its own. Software adapters count only with `NAUTILUS_GPU_SOFTWARE=1`.
    ///
    /// # Errors
    /// In one sentence, why there is none.
    pub fn open() -> Result<Self, String> {
        Self::with(Device::open(device::software_is_admitted(), false)?)
    }

    /// As [`Gpu::open`], with bytes copied through staging memory even where processor and GPU share theirs: what a
    /// discrete GPU does, for tests and comparisons on machines without one.
    ///
    /// # Errors
    /// In one sentence, why there is none.
    pub fn open_staged() -> Result<Self, String> {
        Self::with(Device::open(device::software_is_admitted(), true)?)
    }

    fn with(device: Device) -> Result<Self, String> {
        let pipelines = |real: &str| {
            let source = format!("alias real = {real};\n{SOURCE}");
            device.pipelines(&source, &BINDINGS, ["product"])
        };
        let fault = |fault| format!("{} cannot multiply: {fault}", device.adapter());
        let f32 = pipelines("f32").map_err(fault)?;
        let f64 = device.adapter().f64.then(|| pipelines("f64")).transpose().map_err(fault)?;
        let mut opened = Opened { device: Arc::new(device), f32, f64, ieee: true };
        opened.ieee = opened.follows_ieee().map_err(|fault| format!("the GPU does not multiply: {fault}"))?;
        Ok(Self(Arc::new(opened)))
    }

    /// Every adapter of this machine, software included, best kind first.
    #[must_use]
    pub fn adapters() -> Vec<Adapter> {
        device::adapters()
    }

    /// The adapter that is open.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        self.0.device.adapter()
    }

    /// Whether NaN, infinities and overflow come out as IEEE 754 says; otherwise such operands are refused.
    #[must_use]
    pub fn follows_ieee(&self) -> bool {
        self.0.ieee
    }

    /// Whether the device was lost: the driver reset it, it was pulled out, or it stopped answering.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.device.is_gone()
    }

    /// Gives the device up for good. Whatever is asked of it from now on fails as with a GPU that disappears.
    pub fn destroy(&self) {
        self.0.device.destroy();
    }

    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.0.device
    }
}

impl Backend for Gpu {
    fn id(&self) -> BackendId {
        BackendId::Gpu
    }

    fn supports(&self, spec: &Spec) -> bool {
        let Spec { op, element, m, n, k, batch, .. } = *spec;
        let product = matches!(op, Op::Gemm | Op::Gemv | Op::BatchedGemm | Op::Syrk);
        let real = element == ElementType::F32 || (element == ElementType::F64 && self.0.f64.is_some());
        let limit = usize::try_from(self.0.device.binding_max()).unwrap_or(usize::MAX);
        let fits = |rows: usize, columns: usize| {
            let elements = rows.checked_mul(columns).and_then(|one| one.checked_mul(batch));
            elements.and_then(|all| all.checked_mul(element.bytes())).is_some_and(|bytes| bytes <= limit)
        };
        let within = m.max(n).div_ceil(TILE) <= WORKGROUPS_MAX && batch <= WORKGROUPS_MAX;
        !self.is_gone() && product && real && within && fits(m, k) && fits(k, n) && fits(m, n)
    }

    fn run(&self, job: &mut Job<'_>) -> Result<(), Failure> {
        let spec = job.spec();
        if !self.supports(&spec) {
            let why = if self.is_gone() { Fault::Gone.to_string() } else { unsupported(&spec) };
            return Err(Failure::Broken(why));
        }
        let done = match (job, &self.0.f64) {
            (Job::F32(task), _) => self.0.run(&self.0.f32, task),
            (Job::F64(task), Some(pipelines)) => self.0.run(pipelines, task),
            _ => return Err(Failure::Broken(unsupported(&spec))),
        };
        done.map_err(|fault| Failure::Broken(fault.to_string()))
    }
}

fn unsupported(spec: &Spec) -> String {
    format!("{} of {}×{}×{} {} is not for the GPU", spec.op, spec.m, spec.n, spec.k, spec.element)
}

/// Matrices of one shape without gaps, and where their elements are.
struct Packed<'a, T> {
    matrices: Vec<Matrix<'a, T>>,
    rows: usize,
    columns: usize,
    by_rows: bool,
}

impl<'a, T: Real> Packed<'a, T> {
    /// Lines that are contiguous in the caller's memory stay lines.
    fn new(matrices: Vec<Matrix<'a, T>>) -> Self {
        let (rows, columns, by_rows) = matrices
            .first()
            .map_or((0, 0, true), |first| (first.rows(), first.columns(), first.row_stride() != 1));
        Self { matrices, rows, columns, by_rows }
    }

    /// Row stride, column stride, and from one matrix to the next.
    fn strides(&self) -> [usize; 3] {
        let step = if self.matrices.len() == 1 { 0 } else { self.rows * self.columns };
        if self.by_rows { [self.columns, 1, step] } else { [1, self.rows, step] }
    }

    /// Uploads them; with `finite`, elements that are not are refused.
    fn upload(&self, device: &Device, what: &'static str, finite: bool) -> Result<Lease, Fault> {
        let (lines, length) =
            if self.by_rows { (self.rows, self.columns) } else { (self.columns, self.rows) };
        let bytes = self.matrices.len() * lines * length * size_of::<T>();
        let mut all_finite = true;
        let lease = device.input(what, bytes, |write| {
            let (mut at, mut scratch) = (0, Vec::with_capacity(length));
            for matrix in &self.matrices {
                let matrix = if self.by_rows { *matrix } else { matrix.transposed() };
                for line in 0..lines {
                    let piece = contiguous(&matrix, line, &mut scratch);
                    all_finite &= !finite || piece.iter().all(|value| value.to_f64().is_finite());
                    write(at, piece.as_bytes());
                    at += size_of_val(piece);
                }
            }
        })?;
        if all_finite { Ok(lease) } else { Err(not_finite()) }
    }
}

fn not_finite() -> Fault {
    Fault::Refused("it does not compute with NaN and infinities as IEEE 754 says".to_owned())
}

/// Row `row` as a slice: the caller's memory itself, or copied together.
fn contiguous<'a, T: Copy>(matrix: &'a Matrix<'_, T>, row: usize, scratch: &'a mut Vec<T>) -> &'a [T] {
    if matrix.column_stride() == 1 {
        assert!(row < matrix.rows() && matrix.columns() > 0, "a row of the matrix");
        // SAFETY: with a column stride of 1 the elements (row, 0), (row, 1), … of the view are neighbours, and a view
        // that exists is readable at each of its elements for as long as its borrow.
        return unsafe {
            std::slice::from_raw_parts(matrix.as_ptr().add(row * matrix.row_stride()), matrix.columns())
        };
    }
    scratch.clear();
    scratch.extend((0..matrix.columns()).map(|column| matrix.at(row, column)));
    scratch
}

impl Opened {
    fn run<T: Real>(&self, pipelines: &Pipelines<1>, task: &mut Task<'_, T>) -> Result<(), Fault> {
        match task {
            Task::Gemm(Gemm { alpha, a, b, beta, c }) => {
                let shape = (c.rows(), c.columns(), a.columns(), 1);
                self.scaled_product(pipelines, shape, *alpha, (vec![*a], vec![*b]), |_, i, j, sum| {
                    let value = scaled(*alpha, sum, *beta, || c.at(i, j));
                    c.set(i, j, value);
                })
            }
            Task::Syrk(Syrk { alpha, a, beta, c }) => {
                let shape = (c.rows(), c.rows(), a.columns(), 1);
                let factors = (vec![*a], vec![a.transposed()]);
                self.scaled_product(pipelines, shape, *alpha, factors, |_, i, j, sum| {
                    if j <= i {
                        let value = scaled(*alpha, sum, *beta, || c.at(i, j));
                        c.set(i, j, value);
                        c.set(j, i, value);
                    }
                })
            }
            Task::BatchedGemm(BatchedGemm { alpha, a, b, beta, c }) => {
                let (extent, count) = (c.extent(), c.count());
                let shape = (extent.rows, extent.columns, a.extent().columns, count);
                // A matrix that is used every time is sent once.
                let sent = |step| if step == 0 { count.min(1) } else { count };
                let left = (0..sent(a.step())).map(|i| a.matrix(i)).collect();
                let right = (0..sent(b.step())).map(|i| b.matrix(i)).collect();
                self.scaled_product(pipelines, shape, *alpha, (left, right), |index, i, j, sum| {
                    let mut c = c.matrix(index);
                    let value = scaled(*alpha, sum, *beta, || c.at(i, j));
                    c.set(i, j, value);
                })
            }
            _ => Err(Fault::Refused("it is no product".to_owned())),
        }
    }

    /// Calls `write` with every sum of a batch of products, after all of them have been computed.
    fn scaled_product<T: Real>(
        &self,
        pipelines: &Pipelines<1>,
        (m, n, k, count): (usize, usize, usize, usize),
        alpha: T,
        (a, b): (Vec<Matrix<'_, T>>, Vec<Matrix<'_, T>>),
        mut write: impl FnMut(usize, usize, usize, T),
    ) -> Result<(), Fault> {
        if m * n * count == 0 {
            return Ok(());
        }
        let mut rows = (0..count).flat_map(|matrix| (0..m).map(move |row| (matrix, row)));
        if k == 0 || alpha == T::ZERO {
            rows.for_each(|(matrix, i)| (0..n).for_each(|j| write(matrix, i, j, T::ZERO)));
            return Ok(());
        }
        let (a, b) = (Packed::new(a), Packed::new(b));
        let (pending, inputs) = self.device.guarded(|| self.start(pipelines, (m, n, k, count), &a, &b))?;
        self.device.guarded(|| self.device.wait_for(&pending))?;
        self.device.give_back(inputs);
        self.device.read(pending, |bytes| {
            let sums = <[T]>::ref_from_bytes(bytes)
                .map_err(|_| Fault::Refused("the result lies askew in memory".to_owned()))?;
            if !self.ieee && !sums.iter().all(|sum| sum.to_f64().is_finite()) {
                return Err(not_finite());
            }
            for row in sums.chunks_exact(n) {
                let Some((matrix, i)) = rows.next() else { break };
                row.iter().enumerate().for_each(|(j, sum)| write(matrix, i, j, *sum));
            }
            Ok(())
        })?
    }

    /// Uploads the factors and submits their products.
    fn start<T: Real>(
        &self,
        pipelines: &Pipelines<1>,
        (m, n, k, count): (usize, usize, usize, usize),
        a: &Packed<'_, T>,
        b: &Packed<'_, T>,
    ) -> Result<(Pending, [Lease; 3]), Fault> {
        let device = &*self.device;
        let left = a.upload(device, "the left factor", !self.ieee)?;
        let right = b.upload(device, "the right factor", !self.ieee)?;
        let output = device.lease(Role::Output, "the product", (m * n * count * size_of::<T>()) as u64)?;
        let mut words = Vec::with_capacity(9);
        for size in [&[m, n, k][..], &a.strides(), &b.strides()].concat() {
            words.push(u32::try_from(size).map_err(|_| Fault::Refused(format!("{size} is over 32 bits")))?);
        }
        let shape = device.uniform(&words)?;
        let mut encoder = device.encoder();
        let buffers = [&shape.buffer, &left.buffer, &right.buffer, &output.buffer];
        let workgroups =
            [n.div_ceil(TILE), m.div_ceil(TILE), count].map(|w| u32::try_from(w).unwrap_or(u32::MAX));
        pipelines.record(device, &mut encoder, &buffers, [workgroups]);
        Ok((device.submit(encoder, output)?, [shape, left, right]))
    }

    /// Multiplies what only IEEE 754 arithmetic multiplies right, and compares with the processor.
    fn follows_ieee(&self) -> Result<bool, Fault> {
        fn check<T: Real>(opened: &Opened, pipelines: &Pipelines<1>, largest: f64) -> Result<bool, Fault> {
            let of = |values: [f64; 8]| values.map(T::from_f64);
            let a =
                of([f64::NAN, 1.0, f64::INFINITY, 1.0, f64::INFINITY, f64::NEG_INFINITY, largest, largest]);
            let b = of([0.0, 2.0, 1.0, -1.0, 1.0, 3.0, 1.0, 1.0]);
            let (left, right) = (view(&a, 4, 2), view(&b, 2, 4));
            let mut same = true;
            opened.scaled_product(
                pipelines,
                (4, 4, 2, 1),
                T::ONE,
                (vec![left], vec![right]),
                |_, i, j, sum| {
                    let expected = (0..2).fold(T::ZERO, |sum, p| left.at(i, p).mul_add(right.at(p, j), sum));
                    // Only a NaN differs from itself.
                    #[allow(clippy::eq_op)]
                    let (sum_is_nan, expected_is_nan) = (sum != sum, expected != expected);
                    same &= sum == expected || (sum_is_nan && expected_is_nan);
                },
            )?;
            Ok(same)
        }
        let single = check::<f32>(self, &self.f32, f64::from(f32::MAX))?;
        let double = self.f64.as_ref().map_or(Ok(true), |f64| check::<f64>(self, f64, f64::MAX))?;
        Ok(single && double)
    }
}

fn view<T>(data: &[T; 8], rows: usize, columns: usize) -> Matrix<'_, T> {
    Matrix::row_major(data, rows, columns).expect("eight elements are four by two and two by four")
}

/// α·sum + β·old, where nothing that is scaled by zero has been read.
fn scaled<T: Element>(alpha: T, sum: T, beta: T, old: impl FnOnce() -> T) -> T {
    let product = if alpha == T::ZERO { T::ZERO } else { alpha * sum };
    if beta == T::ZERO { product } else { beta.mul_add(old(), product) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::MatrixMut;

    /// One product by a GPU that is taken for one that does not follow IEEE 754.
    fn product_without_ieee(opened: &Opened, a: &[f32; 4]) -> (Result<(), Fault>, [f32; 4]) {
        let (b, mut c) = ([2.0_f32; 4], [7.0_f32; 4]);
        let (left, right) = (Matrix::row_major(a, 2, 2), Matrix::row_major(&b, 2, 2));
        let result = MatrixMut::row_major(&mut c, 2, 2).unwrap();
        let gemm = Gemm::new(1.0, left.unwrap(), right.unwrap(), 0.0, result).unwrap();
        let done = opened.run(&opened.f32, &mut Task::Gemm(gemm));
        (done, c)
    }

    #[test]
    fn a_gpu_without_ieee_refuses_what_is_not_finite() {
        let Ok(gpu) = Gpu::open() else {
            eprintln!("!!! SKIPPED: refusals of NaN were not checked: there is no GPU");
            return;
        };
        let mut opened = Arc::into_inner(gpu.0).expect("the only user of it");
        opened.ieee = false;
        assert_eq!(product_without_ieee(&opened, &[1.0, 2.0, 3.0, 4.0]), (Ok(()), [6.0, 6.0, 14.0, 14.0]));
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            let (done, c) = product_without_ieee(&opened, &[1.0, 2.0, bad, 4.0]);
            assert_eq!((done, c), (Err(not_finite()), [7.0; 4]), "{bad}: the result is as it was");
        }
    }
}
