//! `GET /v1/hardware/route` and `nautilus hardware route`: which job is asked about.
//!
//! It checks the question; it answers nothing.

use nautilus_hardware::{ElementType, Op, Spec};
use serde::Deserialize;
use utoipa::IntoParams;

/// The largest size that may be asked about, far above what fits in memory.
pub const SIZE_MAX: usize = 1 << 20;

/// A job, by its sizes.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// gemm, gemv, syrk, quadratic_form, batched_gemm, cholesky, solve, dot, axpy or gemm_i8.
    #[param(value_type = String, example = "gemm")]
    pub op: Op,
    /// Rows of the result, or the order of a square operand, where the operation has it: 1 to 1048576.
    #[param(example = 64)]
    pub m: Option<usize>,
    /// Columns of the result.
    #[param(example = 64)]
    pub n: Option<usize>,
    /// The length of each sum.
    #[param(example = 64)]
    pub k: Option<usize>,
    /// Matrices of a batch; 1 unless asked otherwise.
    pub batch: Option<usize>,
    /// f64 unless asked otherwise, or f32; gemm_i8 has i8.
    #[param(value_type = Option<String>, example = "f64")]
    pub element: Option<ElementType>,
}

/// The sizes that an operation has, in the order in which they are written.
#[must_use]
pub const fn sizes(op: Op) -> &'static [&'static str] {
    match op {
        Op::Gemm | Op::BatchedGemm | Op::GemmI8 => &["m", "n", "k"],
        Op::Gemv | Op::Syrk => &["m", "k"],
        Op::QuadraticForm | Op::Cholesky => &["m"],
        Op::Solve => &["m", "n"],
        Op::Dot | Op::Axpy => &["k"],
    }
}

impl Question {
    /// The job that is asked about, with everything by rows.
    ///
    /// # Errors
    /// One sentence that names the size or the element that is missing, wrong or not of this operation.
    pub fn spec(&self) -> Result<Spec, String> {
        let Self { op, batch, .. } = *self;
        let [m, n, k] = [("m", self.m), ("n", self.n), ("k", self.k)].map(|(name, given)| {
            match (sizes(op).contains(&name), given) {
                (true, Some(size)) if (1..=SIZE_MAX).contains(&size) => Ok(size),
                (true, Some(size)) => Err(format!("{name} is {size}; it must be between 1 and {SIZE_MAX}")),
                (true, None) => Err(format!("{op} needs {}: {name} is missing", sizes(op).join(", "))),
                (false, None) => Ok(0),
                (false, Some(_)) => Err(format!("{op} has no {name}: give {} only", sizes(op).join(", "))),
            }
        });
        let batch = match batch.unwrap_or(1) {
            1 => 1,
            _ if op != Op::BatchedGemm => return Err(format!("{op} has no batch: ask for batched_gemm")),
            batch if (1..=SIZE_MAX).contains(&batch) => batch,
            batch => return Err(format!("batch is {batch}; it must be between 1 and {SIZE_MAX}")),
        };
        Ok(Spec { batch, ..Spec::new(op, self.element()?, m?, n?, k?) })
    }

    fn element(&self) -> Result<ElementType, String> {
        match (self.op, self.element) {
            (Op::GemmI8, None | Some(ElementType::I8)) => Ok(ElementType::I8),
            (Op::GemmI8, Some(element)) => Err(format!("gemm_i8 is of i8, not {element}")),
            (op, Some(ElementType::I8)) => Err(format!("{op} is of f32 or f64, not i8: ask for gemm_i8")),
            (_, element) => Ok(element.unwrap_or(ElementType::F64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Question = Question { op: Op::Gemm, m: None, n: None, k: None, batch: None, element: None };

    #[test]
    fn a_question_names_a_job_by_the_sizes_that_it_has() {
        for (op, count) in [(Op::Gemm, 3), (Op::Syrk, 2), (Op::Solve, 2), (Op::Cholesky, 1), (Op::Dot, 1)] {
            let size = |name: &str| sizes(op).contains(&name).then_some(7);
            let question = Question { op, m: size("m"), n: size("n"), k: size("k"), ..NONE };
            assert_eq!((question.spec().unwrap().op, sizes(op).len()), (op, count));
        }
        let all = Question { m: Some(2), n: Some(3), k: Some(4), ..NONE };
        assert_eq!(all.spec(), Ok(Spec::new(Op::Gemm, ElementType::F64, 2, 3, 4)));
        let bytes = Question { op: Op::GemmI8, ..all };
        assert_eq!(bytes.spec().unwrap().element, ElementType::I8);
        let many = Question { op: Op::BatchedGemm, batch: Some(500), element: Some(ElementType::F32), ..all };
        assert_eq!((many.spec().unwrap().batch, many.spec().unwrap().element), (500, ElementType::F32));
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let all = Question { m: Some(2), n: Some(3), k: Some(4), ..NONE };
        for (question, part) in [
            (NONE, "gemm needs m, n, k: m is missing"),
            (Question { k: None, ..all }, "k is missing"),
            (Question { n: Some(0), ..all }, "n is 0; it must be between 1 and 1048576"),
            (Question { m: Some(usize::MAX), ..all }, "m is 18446744073709551615"),
            (Question { op: Op::Dot, ..all }, "dot has no m: give k only"),
            (Question { batch: Some(2), ..all }, "gemm has no batch"),
            (Question { op: Op::BatchedGemm, batch: Some(0), ..all }, "batch is 0"),
            (Question { element: Some(ElementType::I8), ..all }, "ask for gemm_i8"),
            (
                Question { op: Op::GemmI8, element: Some(ElementType::F64), ..all },
                "gemm_i8 is of i8, not f64",
            ),
        ] {
            let reason = question.spec().unwrap_err();
            assert!(reason.contains(part), "{reason}");
        }
    }
}
