//! BLAS libraries opened at run time: OpenBLAS (Debian's and the one inside numpy's wheel) and oneMKL, one thread each.
//!
//! All matrices are by rows. Integers are 32 bits wide, except in numpy's OpenBLAS, whose names end in `64_`.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use libloading::Library;

use nautilus_hardware::{Matrix, MatrixMut};

use crate::Real;
use crate::contestants::{Shape, is_of};

const ROW_MAJOR: c_int = 101;
const NO_TRANSPOSE: c_int = 111;
const LOWER: c_int = 122;

type Gemm<T, I> =
    unsafe extern "C" fn(c_int, c_int, c_int, I, I, I, T, *const T, I, *const T, I, T, *mut T, I);
type Syrk<T, I> = unsafe extern "C" fn(c_int, c_int, c_int, I, I, T, *const T, I, T, *mut T, I);
type JitKernel<T> = unsafe extern "C" fn(*mut c_void, *const T, *const T, *mut T);
type CreateJit<T> = unsafe extern "C" fn(
    *mut *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    T,
    c_int,
    c_int,
    T,
    c_int,
) -> c_int;
type GetJit<T> = unsafe extern "C" fn(*mut c_void) -> JitKernel<T>;

/// The width of a library's integers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

/// One BLAS.
#[derive(Clone)]
pub struct Blas {
    /// What the table calls it.
    pub name: String,
    library: Arc<Library>,
    width: Width,
    prefix: &'static str,
    suffix: &'static str,
}

/// The libraries that the environment names; each that is absent is said once.
pub fn open_all() -> Vec<Blas> {
    let candidates = [
        ("NAUTILUS_PEER_OPENBLAS", "OpenBLAS", Width::Bits32, "", ""),
        ("NAUTILUS_PEER_OPENBLAS_NUMPY", "OpenBLAS of numpy", Width::Bits64, "scipy_", "64_"),
        ("NAUTILUS_PEER_MKL", "oneMKL", Width::Bits32, "", ""),
    ];
    let mut found = Vec::new();
    for (variable, name, width, prefix, suffix) in candidates {
        let Ok(path) = std::env::var(variable) else {
            eprintln!("{variable} names no library: {name} is left out (prepare.sh finds them)");
            continue;
        };
        // SAFETY: the user names the library, whose initialisers are those of a BLAS.
        let library =
            unsafe { Library::new(&path) }.unwrap_or_else(|error| panic!("{variable}={path}: {error}"));
        let mut blas = Blas { name: name.to_owned(), library: Arc::new(library), width, prefix, suffix };
        blas.settle();
        found.push(blas);
    }
    found
}

impl Blas {
    /// One thread, and the name with version and the kernels that it chose.
    fn settle(&mut self) {
        let text = |symbol: &str| {
            let name = format!("{}{symbol}{}", self.prefix, self.suffix);
            // SAFETY: the OpenBLAS functions of these names take nothing and return a static string.
            let get = unsafe { self.library.get::<unsafe extern "C" fn() -> *const c_char>(name.as_bytes()) }
                .ok()?;
            // SAFETY: as above.
            let text = unsafe { std::ffi::CStr::from_ptr(get()) };
            Some(text.to_string_lossy().into_owned())
        };
        if let (Some(config), Some(core)) = (text("openblas_get_config"), text("openblas_get_corename")) {
            let version = config.split_whitespace().nth(1).unwrap_or_default().to_owned();
            self.name = format!("{} {version} ({core})", self.name);
        }
        let threads = format!("{}openblas_set_num_threads{}", self.prefix, self.suffix);
        // SAFETY: takes the number of threads.
        if let Ok(set) = unsafe { self.library.get::<unsafe extern "C" fn(c_int)>(threads.as_bytes()) } {
            // SAFETY: as above.
            unsafe { set(1) };
        }
        // SAFETY: takes the number of threads by value.
        if let Ok(set) = unsafe { self.library.get::<unsafe extern "C" fn(c_int)>(b"MKL_Set_Num_Threads") } {
            // SAFETY: as above.
            unsafe { set(1) };
            self.name = format!("{} {}", self.name, self.mkl_version());
        }
    }

    fn mkl_version(&self) -> String {
        let mut text = [0_u8; 200];
        // SAFETY: fills a buffer of the given length.
        unsafe {
            let get: libloading::Symbol<'_, unsafe extern "C" fn(*mut u8, c_int)> =
                self.library.get(b"MKL_Get_Version_String").expect("oneMKL has a version");
            get(text.as_mut_ptr(), text.len() as c_int);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split("Version ")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_default()
            .to_owned()
    }

    fn symbol<F: Copy>(&self, name: &str) -> F {
        let name = format!("{}{name}{}", self.prefix, self.suffix);
        // SAFETY: callers name the type of the function as BLAS declares it.
        unsafe {
            *self.library.get::<F>(name.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
        }
    }

    /// C ← A·B for m×k by k×n.
    pub fn gemm<T: Real>(
        &self,
        (m, n, k): Shape,
    ) -> impl Fn(Matrix<'_, T>, Matrix<'_, T>, &mut MatrixMut<'_, T>) + use<T> {
        let name = format!("cblas_{}gemm", T::LETTER);
        let library = Arc::clone(&self.library);
        let (narrow, wide): (Option<Gemm<T, c_int>>, Option<Gemm<T, i64>>) = match self.width {
            Width::Bits32 => (Some(self.symbol(&name)), None),
            Width::Bits64 => (None, Some(self.symbol(&name))),
        };
        move |a, b, c| {
            let _ = &library;
            assert!(is_of((m, n, k), &a, &b, c));
            let (a, b, c, n1) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), NO_TRANSPOSE);
            // SAFETY: the views have the shape, which was just checked.
            unsafe {
                if let Some(call) = narrow {
                    let [m, n, k] = [m, n, k].map(|v| v as c_int);
                    call(ROW_MAJOR, n1, n1, m, n, k, T::ONE, a, k, b, n, T::ZERO, c, n);
                } else if let Some(call) = wide {
                    let [m, n, k] = [m, n, k].map(|v| v as i64);
                    call(ROW_MAJOR, n1, n1, m, n, k, T::ONE, a, k, b, n, T::ZERO, c, n);
                }
            }
        }
    }

    /// The lower triangle of C ← Aᵀ·A for A with k rows and m columns.
    pub fn syrk<T: Real>(&self, m: usize, k: usize) -> impl Fn(&[T], &mut [T]) + use<T> {
        let name = format!("cblas_{}syrk", T::LETTER);
        let library = Arc::clone(&self.library);
        let (narrow, wide): (Option<Syrk<T, c_int>>, Option<Syrk<T, i64>>) = match self.width {
            Width::Bits32 => (Some(self.symbol(&name)), None),
            Width::Bits64 => (None, Some(self.symbol(&name))),
        };
        move |a, c| {
            let _ = &library;
            assert!(a.len() >= m * k && c.len() >= m * m);
            let (a, c, transpose) = (a.as_ptr(), c.as_mut_ptr(), NO_TRANSPOSE + 1);
            // SAFETY: the slices are as long as the shapes ask, which was just checked.
            unsafe {
                if let Some(call) = narrow {
                    let [m, k] = [m, k].map(|v| v as c_int);
                    call(ROW_MAJOR, LOWER, transpose, m, k, T::ONE, a, m, T::ZERO, c, m);
                } else if let Some(call) = wide {
                    let [m, k] = [m, k].map(|v| v as i64);
                    call(ROW_MAJOR, LOWER, transpose, m, k, T::ONE, a, m, T::ZERO, c, m);
                }
            }
        }
    }

    /// oneMKL's generated kernel for C ← A·B, where this is oneMKL and it makes one of this shape.
    pub fn jit<T: Real>(
        &self,
        (m, n, k): Shape,
    ) -> Option<impl Fn(Matrix<'_, T>, Matrix<'_, T>, &mut MatrixMut<'_, T>) + use<T>> {
        if !self.name.starts_with("oneMKL") {
            return None;
        }
        let library = Arc::clone(&self.library);
        let create: CreateJit<T> = self.symbol(&format!("mkl_cblas_jit_create_{}gemm", T::LETTER));
        let get: GetJit<T> = self.symbol(&format!("mkl_jit_get_{}gemm_ptr", T::LETTER));
        let mut jitter = std::ptr::null_mut();
        let [rows, columns, depth] = [m, n, k].map(|v| v as c_int);
        let n1 = NO_TRANSPOSE;
        // SAFETY: shapes and leading dimensions belong together; 0 says that a kernel was generated.
        let kernel = unsafe {
            let made = create(
                &raw mut jitter,
                ROW_MAJOR,
                n1,
                n1,
                rows,
                columns,
                depth,
                T::ONE,
                depth,
                columns,
                T::ZERO,
                columns,
            );
            if made != 0 {
                return None;
            }
            get(jitter)
        };
        Some(move |a: Matrix<'_, T>, b: Matrix<'_, T>, c: &mut MatrixMut<'_, T>| {
            let _ = &library;
            assert!(is_of((m, n, k), &a, &b, c));
            // SAFETY: the views have the kernel's shape, which was just checked.
            unsafe { kernel(jitter, a.as_ptr(), b.as_ptr(), c.as_mut_ptr()) };
        })
    }
}
