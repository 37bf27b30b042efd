//! Operations by name, on the front.

use super::{Error, Hardware};
use crate::backend::BackendId;
use crate::element::Element;
use crate::job::{Axpy, BatchedGemm, Cholesky, Dot, Gemm, GemmI8, Job, QuadraticForm, Solve, Syrk, Task};
use crate::view::{Batch, BatchMut, Matrix, MatrixMut};

impl Hardware {
    /// C ← α·A·B + β·C, A m×k, B k×n, C m×n.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    #[inline]
    pub fn gemm<'a, T: Element>(
        &self,
        alpha: T,
        a: Matrix<'a, T>,
        b: Matrix<'a, T>,
        beta: T,
        c: MatrixMut<'a, T>,
    ) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Gemm(Gemm::new(alpha, a, b, beta, c)?)))?)
    }

    /// y ← α·A·x + β·y, A m×k.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    #[inline]
    pub fn gemv<T: Element>(
        &self,
        alpha: T,
        a: Matrix<'_, T>,
        x: &[T],
        beta: T,
        y: &mut [T],
    ) -> Result<BackendId, Error> {
        self.gemm(alpha, a, Matrix::column(x), beta, MatrixMut::column(y))
    }

    /// C ← α·A·Aᵀ + β·C, A m×k; both triangles of C are written, its lower one is read.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    #[inline]
    pub fn syrk<'a, T: Element>(
        &self,
        alpha: T,
        a: Matrix<'a, T>,
        beta: T,
        c: MatrixMut<'a, T>,
    ) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Syrk(Syrk::new(alpha, a, beta, c)?)))?)
    }

    /// xᵀ·A·x, A m×m.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    #[inline]
    pub fn quadratic_form<T: Element>(&self, a: Matrix<'_, T>, x: &[T]) -> Result<T, Error> {
        let mut result = T::ZERO;
        self.run(T::job(Task::QuadraticForm(QuadraticForm::new(a, Matrix::column(x), &mut result)?)))?;
        Ok(result)
    }

    /// Cᵢ ← α·Aᵢ·Bᵢ + β·Cᵢ for each matrix of the batch.
    ///
    /// # Errors
    /// The shapes or counts do not belong together, or nothing could do it.
    #[inline]
    pub fn batched_gemm<'a, T: Element>(
        &self,
        alpha: T,
        a: Batch<'a, T>,
        b: Batch<'a, T>,
        beta: T,
        c: BatchMut<'a, T>,
    ) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::BatchedGemm(BatchedGemm::new(alpha, a, b, beta, c)?)))?)
    }

    /// A = L·Lᵀ in place: the lower triangle of A becomes L, its strict upper triangle is left alone.
    ///
    /// # Errors
    /// A is not square or not positive definite, or nothing could do it.
    #[inline]
    pub fn cholesky<T: Element>(&self, a: MatrixMut<'_, T>) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Cholesky(Cholesky::new(a)?)))?)
    }

    /// X with L·Lᵀ·X = B in the place of B, L as [`Hardware::cholesky`] leaves it.
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    #[inline]
    pub fn solve<'a, T: Element>(&self, l: Matrix<'a, T>, b: MatrixMut<'a, T>) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Solve(Solve::new(l, b)?)))?)
    }

    /// Σ xᵢ·yᵢ.
    ///
    /// # Errors
    /// The lengths differ, or nothing could do it.
    #[inline]
    pub fn dot<T: Element>(&self, x: &[T], y: &[T]) -> Result<T, Error> {
        let mut result = T::ZERO;
        self.run(T::job(Task::Dot(Dot::new(Matrix::column(x), Matrix::column(y), &mut result)?)))?;
        Ok(result)
    }

    /// y ← α·x + y.
    ///
    /// # Errors
    /// The lengths differ, or nothing could do it.
    #[inline]
    pub fn axpy<T: Element>(&self, alpha: T, x: &[T], y: &mut [T]) -> Result<BackendId, Error> {
        Ok(self.run(T::job(Task::Axpy(Axpy::new(alpha, Matrix::column(x), MatrixMut::column(y))?)))?)
    }

    /// C ← A·B, exactly, A m×k, B k×n, k at most [`GemmI8::K_MAX`].
    ///
    /// # Errors
    /// The shapes do not belong together, or nothing could do it.
    #[inline]
    pub fn gemm_i8<'a>(
        &self,
        a: Matrix<'a, u8>,
        b: Matrix<'a, i8>,
        c: MatrixMut<'a, i32>,
    ) -> Result<BackendId, Error> {
        Ok(self.run(Job::I8(GemmI8::new(a, b, c)?))?)
    }
}
