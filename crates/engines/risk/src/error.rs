//! Why a question is refused.

/// A question that cannot be answered: which field is at fault, what is wrong with it and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct RiskError {
    code: &'static str,
    field: String,
    reason: String,
}

impl RiskError {
    /// A refusal with a stable code for programs, the field as a path (`returns[3][1]`), and a reason that says what to do.
    #[must_use]
    pub fn new(code: &'static str, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code, field: field.into(), reason: reason.into() }
    }

    /// Stable, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// The field at fault.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }
}
