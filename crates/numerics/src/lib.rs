//! Statistics, distributions, windows and matrix statistics that several engines compute.
//!
//! Distributions, windows and eigenvalues are pure and give the same bits on every machine: elementary functions come
//! from `libm`, never from the platform. Whatever multiplies matrices goes through `nautilus_hardware`, which the caller
//! hands in; its last bits are those of the backend, the same everywhere where one is pinned. Nothing here knows markets,
//! messages or time.

mod chi_squared;
mod components;
mod covariance;
mod deviation;
mod distribution;
mod eigen;
mod eigen_update;
mod gamma;
mod matrix;
mod nearest;
mod options;
mod philox;
mod quantile;
mod sobol;

pub use chi_squared::{chi_squared_cdf, chi_squared_quantile, chi_squared_upper};
pub use components::{PrincipalComponents, principal_components};
pub use covariance::{correlation, covariance, ewma_covariance};
pub use deviation::RollingDeviation;
pub use distribution::{beta_cdf, normal_cdf, student_t_cdf};
pub use eigen::symmetric_eigen;
pub use eigen_update::rank_one_update;
pub use gamma::{gamma_lower, gamma_upper};
pub use matrix::{ELEMENTS_MAX, MatrixError, cholesky, product, quadratic_form, solve_spd};
pub use nearest::{NearestCorrelation, nearest_correlation};
pub use options::{
    American, Approximation, European, Greeks, OptionError, OptionKind, OptionTerms, american_approximation,
    implied_volatility, leisen_reimer,
};
pub use philox::Philox;
pub use quantile::{normal_quantile, student_t_density, student_t_quantile};
pub use sobol::{SOBOL_DIMENSIONS_MAX, SOBOL_POINTS_MAX, Sobol};
