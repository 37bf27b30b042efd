//! Kernels read and write nothing beyond their views: each operand ends where a page begins that nobody may touch, so a
//! single byte too far ends the test program with a segmentation fault.

#![cfg(unix)]
#![allow(unsafe_code)]

use std::ptr;

use nautilus_hardware::{
    Axpy, Backend, Cholesky, Dot, Element, Gemm, GemmI8, Job, Matrix, MatrixMut, QuadraticForm, Solve, Syrk,
    Task, backends,
};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// Large enough for the page size of any machine.
const PAGE: usize = 65536;

/// Memory whose end nobody may step over.
struct Guarded {
    start: *mut u8,
    usable: usize,
}

impl Guarded {
    fn new() -> Self {
        let usable = 4 * PAGE;
        // SAFETY: new pages, of which the last may not be touched; they stay mapped until this is dropped.
        let start = unsafe {
            let flags = MapFlags::PRIVATE;
            let start =
                mmap_anonymous(ptr::null_mut(), usable + PAGE, ProtFlags::READ | ProtFlags::WRITE, flags);
            let start = start.expect("pages");
            mprotect(start.add(usable), PAGE, MprotectFlags::empty()).expect("a page to guard");
            start.cast()
        };
        Self { start, usable }
    }

    /// `count` ones that end where the guard begins.
    fn ones<T: Copy + From<u8>>(&mut self, count: usize) -> &mut [T] {
        assert!(count * size_of::<T>() <= self.usable);
        // SAFETY: inside the pages, aligned because the end of a page is.
        let slice = unsafe {
            let start = self.start.add(self.usable - count * size_of::<T>()).cast::<T>();
            std::slice::from_raw_parts_mut(start, count)
        };
        slice.fill(T::from(1));
        slice
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the pages of `new`, and no slice of them outlives it.
        unsafe { munmap(self.start.cast(), self.usable + PAGE) }.expect("pages to give back");
    }
}

fn run(backend: &dyn Backend, mut job: Job<'_>) -> bool {
    let spec = job.spec();
    if backend.supports(&spec) {
        backend.run(&mut job).unwrap_or_else(|failure| panic!("{}: {spec:?}: {failure}", backend.id()));
    }
    backend.supports(&spec)
}

/// Strides of a matrix by rows or by columns.
fn strides(by_rows: bool, rows: usize, columns: usize) -> (usize, usize) {
    if by_rows { (columns, 1) } else { (1, rows) }
}

fn check_products<T: Element + From<u8>>(backend: &dyn Backend, pages: &mut [Guarded; 3]) {
    let [first, second, third] = pages;
    for (m, n, k) in (1..=33).map(|n| (n, n, n)).chain([
        (49, 9, 5),
        (5, 50, 17),
        (130, 3, 66),
        (100, 100, 100),
        (1030, 1, 29),
    ]) {
        for orders in 0..8 {
            let (sa, sb) = (strides(orders & 1 == 0, m, k), strides(orders & 2 == 0, k, n));
            let sc = strides(orders & 4 == 0, m, n);
            let c = third.ones::<T>(m * n);
            let gemm = Gemm::new(
                T::ONE,
                Matrix::new(first.ones(m * k), m, k, sa.0, sa.1).unwrap(),
                Matrix::new(second.ones(k * n), k, n, sb.0, sb.1).unwrap(),
                T::ONE,
                MatrixMut::new(c, m, n, sc.0, sc.1).unwrap(),
            );
            let sum = T::from_f64(k as f64 + 1.0);
            if run(backend, T::job(Task::Gemm(gemm.unwrap()))) {
                assert!(third.ones_seen::<T>(m * n, sum), "{}: {m}×{n}×{k}", backend.id());
            }
        }
    }
}

impl Guarded {
    /// Whether the last `count` numbers are all `value`.
    fn ones_seen<T: PartialEq + Copy>(&self, count: usize, value: T) -> bool {
        // SAFETY: as for `ones`.
        let seen = unsafe {
            let start = self.start.add(self.usable - count * size_of::<T>()).cast::<T>();
            std::slice::from_raw_parts(start, count)
        };
        seen.iter().all(|&seen| seen == value)
    }
}

fn check_others<T: Element + From<u8>>(backend: &dyn Backend, pages: &mut [Guarded; 3]) {
    let [first, second, third] = pages;
    for n in (1..=34).chain([63, 64, 65, 100]) {
        for by_rows in [true, false] {
            let (row, column) = strides(by_rows, n, n);
            let mut result = T::ZERO;
            let a = Matrix::new(first.ones::<T>(n * n), n, n, row, column).unwrap();
            let x = Matrix::column(second.ones::<T>(n));
            let size = T::from_f64((n * n) as f64);
            if run(backend, T::job(Task::QuadraticForm(QuadraticForm::new(a, x, &mut result).unwrap()))) {
                assert_eq!(result, size);
            }
            let c = MatrixMut::new(third.ones::<T>(n * n), n, n, row, column).unwrap();
            run(backend, T::job(Task::Syrk(Syrk::new(T::ONE, a, T::ONE, c).unwrap())));
            let y = third.ones::<T>(n);
            if run(backend, T::job(Task::Dot(Dot::new(x, Matrix::column(y), &mut result).unwrap()))) {
                assert_eq!(result, T::from_f64(n as f64));
            }
            run(backend, T::job(Task::Axpy(Axpy::new(T::ONE, x, MatrixMut::column(y)).unwrap())));
            let matrix = first.ones::<T>(n * n);
            for i in 0..n {
                matrix[i * (n + 1)] = size;
            }
            let a = MatrixMut::new(matrix, n, n, row, column).unwrap();
            run(backend, T::job(Task::Cholesky(Cholesky::new(a).unwrap())));
            let l = Matrix::new(first.ones::<T>(n * n), n, n, row, column).unwrap();
            for sides in [1, 3, 9] {
                let (row, column) = strides(by_rows, n, sides);
                let b = MatrixMut::new(second.ones::<T>(n * sides), n, sides, row, column).unwrap();
                run(backend, T::job(Task::Solve(Solve::new(l, b).unwrap())));
            }
        }
    }
}

fn check_integers(backend: &dyn Backend, pages: &mut [Guarded; 3]) {
    let [first, second, third] = pages;
    for (m, n, k) in (1..=40).map(|n| (n, n, n)).chain([(9, 17, 5), (3, 49, 130), (17, 1, 1030)]) {
        for orders in 0..8 {
            let (sa, sb) = (strides(orders & 1 == 0, m, k), strides(orders & 2 == 0, k, n));
            let sc = strides(orders & 4 == 0, m, n);
            // Signed ones have the bytes of unsigned ones.
            let b: &[u8] = second.ones(k * n);
            // SAFETY: the same bytes.
            let b = unsafe { std::slice::from_raw_parts(b.as_ptr().cast::<i8>(), b.len()) };
            let gemm = GemmI8::new(
                Matrix::new(first.ones(m * k), m, k, sa.0, sa.1).unwrap(),
                Matrix::new(b, k, n, sb.0, sb.1).unwrap(),
                MatrixMut::new(third.ones::<i32>(m * n), m, n, sc.0, sc.1).unwrap(),
            );
            if run(backend, Job::I8(gemm.unwrap())) {
                assert!(third.ones_seen(m * n, k as i32), "{}: {m}×{n}×{k}", backend.id());
            }
        }
    }
}

#[test]
fn kernels_stay_inside_their_views() {
    let mut pages = [Guarded::new(), Guarded::new(), Guarded::new()];
    for backend in backends::available() {
        check_products::<f32>(&*backend, &mut pages);
        check_products::<f64>(&*backend, &mut pages);
        check_others::<f32>(&*backend, &mut pages);
        check_others::<f64>(&*backend, &mut pages);
        check_integers(&*backend, &mut pages);
    }
}
