//! The question of value at risk and its answer: shapes and defaults. It checks nothing; [`super::calculate_var`] does.

use nautilus_hardware::BackendId;
use serde::{Deserialize, Serialize};

use super::ScenarioMatrix;
use crate::simulation::{HigherMoments, Simulation};

/// Where the scenarios come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Past returns as they were, all equally likely.
    #[default]
    Historical,
    /// Past returns, standardised by the volatility of their day and rescaled to today's (Barone-Adesi, Giannopoulos and
    /// Vosper 1999; Hull and White 1998).
    FilteredHistorical,
    /// Past returns with weights that fade with age (Boudoukh, Richardson and Whitelaw 1998).
    AgeWeighted,
    /// The normal distribution with the sample covariance.
    Parametric,
    /// The normal quantile corrected for skewness and kurtosis (Cornish and Fisher 1938).
    CornishFisher,
    /// Drawn scenarios.
    MonteCarlo,
    /// A saddlepoint approximation of the tail (Lugannani and Rice 1980).
    Saddlepoint,
}

/// How a quantile lies between two scenarios. The names are those of `numpy.quantile`; the numbered definitions are of
/// Hyndman and Fan (1996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuantileConvention {
    /// Definition 1: the scenario x_(⌈nq⌉) itself.
    #[default]
    InvertedCdf,
    /// Definition 4.
    InterpolatedInvertedCdf,
    /// Definition 5.
    Hazen,
    /// Definition 6.
    Weibull,
    /// Definition 7, the default of numpy, pandas and R.
    Linear,
    /// Definition 8.
    MedianUnbiased,
    /// Definition 9.
    NormalUnbiased,
    /// The scenario below that of `linear`.
    Lower,
    /// The scenario above that of `linear`.
    Higher,
}

/// How one day becomes the horizon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HorizonRule {
    /// Everything times √days.
    #[default]
    SqrtTime,
    /// Sums of as many consecutive scenarios as the horizon has days, one sum beginning at each scenario.
    Overlapping,
}

/// The model of volatility that filters returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volatility {
    /// σ²(t+1) = λ·σ²(t) + (1 − λ)·r²(t) (RiskMetrics 1996).
    #[default]
    Ewma,
    /// σ²(t+1) = ω + α·r²(t) + β·σ²(t) by maximum likelihood (Bollerslev 1986).
    Garch,
}

/// What drawn returns are distributed like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Multivariate normal.
    #[default]
    Normal,
    /// Multivariate Student t.
    StudentT,
    /// A Student t copula.
    TCopula,
}

/// How numbers are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// A counter-based generator.
    #[default]
    PseudoRandom,
    /// A scrambled Sobol sequence.
    Sobol,
}

/// The weights of a spectral risk measure (Acerbi 2002), one of the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Spectrum {
    /// φ(p) = R·exp(−R·p)/(1 − exp(−R)), p from the worst scenario (0) to the best (1); R above 0.
    RiskAversion(f64),
    /// A spectrum in steps: weights of bands of equal probability, the worst scenarios first; none negative, none above the
    /// one before it. They are divided by their sum.
    Weights(Vec<f64>),
}

/// Scenarios, positions, and what to compute. Whatever is left out takes its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VarRequest {
    /// Simple returns of one day, scenarios × assets, the oldest first. Either this or `scenario_pnl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returns: Option<ScenarioMatrix>,
    /// P&L of the whole portfolio in each scenario, losses negative, the oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario_pnl: Option<Vec<f64>>,
    /// With `returns`: the value of each position, short ones negative. Either this or `weights`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Vec<f64>>,
    /// With `returns`: each position as a share of the portfolio; the answer is in shares, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// The share of scenarios whose loss is not above VaR. Default 0.99.
    #[serde(default = "VarRequest::default_confidence")]
    pub confidence: f64,
    /// Default 1.
    #[serde(default = "VarRequest::default_horizon_days")]
    pub horizon_days: f64,
    /// Default sqrt_time.
    #[serde(default)]
    pub horizon_rule: HorizonRule,
    /// Default historical.
    #[serde(default)]
    pub method: Method,
    /// Default inverted_cdf, the only one for weighted scenarios.
    #[serde(default)]
    pub convention: QuantileConvention,
    /// age_weighted: what a scenario weighs beside the one after it; default 0.99. filtered_historical by EWMA: λ; default
    /// 0.94.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// filtered_historical: default ewma.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatility: Option<Volatility>,
    /// Whether to compute VaR and ES without each position. Default true.
    #[serde(default = "VarRequest::default_incremental")]
    pub incremental: bool,
    /// A spectral measure besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectral: Option<Spectrum>,
    /// Whether to compute the entropic value at risk besides. Default false.
    #[serde(default)]
    pub evar: bool,
    /// Methods other than the historical ones: whether returns have their sample mean, or none. Default none: a day's mean
    /// is lost in its noise.
    #[serde(default)]
    pub include_mean: bool,
    /// cornish_fisher, saddlepoint and monte_carlo: second derivatives Γ of P&L by returns, so that P&L is e′r + ½·r′Γr of returns
    /// r, which are normal for the first two; assets × assets, or one row with the diagonal. Without it those describe past P&L.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma: Option<ScenarioMatrix>,
    /// monte_carlo: the number that all draws follow from. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// monte_carlo: how many scenarios are drawn. Default 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<usize>,
    /// monte_carlo: default normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// monte_carlo by student_t or t_copula: above 2. By default what fits the assets' mean excess kurtosis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degrees_of_freedom: Option<f64>,
    /// monte_carlo: default pseudo_random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
}

impl VarRequest {
    /// A question with every default, to which scenarios are to be added.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self {
            returns: None,
            scenario_pnl: None,
            positions: None,
            weights: None,
            confidence: Self::default_confidence(),
            horizon_days: Self::default_horizon_days(),
            horizon_rule: HorizonRule::default(),
            method,
            convention: QuantileConvention::default(),
            decay: None,
            volatility: None,
            incremental: Self::default_incremental(),
            spectral: None,
            evar: false,
            include_mean: false,
            gamma: None,
            seed: None,
            paths: None,
            distribution: None,
            degrees_of_freedom: None,
            sampling: None,
        }
    }

    const fn default_confidence() -> f64 {
        0.99
    }

    const fn default_horizon_days() -> f64 {
        1.0
    }

    const fn default_incremental() -> bool {
        true
    }
}

/// How a standard error or an interval was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorRule {
    /// Of VaR: the moments of the order statistic under the empirical distribution (Maritz and Jarrett 1978); weighted
    /// scenarios count as their effective number (Kish 1965).
    MaritzJarrett,
    /// Of ES: the asymptotic variance of a tail mean (Manistre and Hancock 2005).
    TailMean,
    /// Of VaR: two order statistics, by the binomial distribution of the number of scenarios below the quantile.
    Binomial,
    /// Of VaR from weighted or overlapping scenarios: the quantiles at q ± z·√(q(1 − q)/n), n the effective number of
    /// scenarios (Woodruff 1952).
    Woodruff,
    /// The estimate ± z standard errors.
    Normal,
    /// Of a closed form in σ: that measure / √(2(T − 1)), the sampling error of σ of T normal returns (Kendall and Stuart 1977).
    ClosedForm,
    /// The spread among independent scramblings of a sequence / √(their number), with Student's t for intervals.
    Replicates,
}

/// Standard errors of VaR and ES, absent where scenarios in the tail are too few to tell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StandardError {
    /// Of VaR.
    pub var: Option<f64>,
    /// Of ES.
    pub es: Option<f64>,
    /// How that of VaR was computed.
    pub var_rule: ErrorRule,
    /// How that of ES was computed.
    pub es_rule: ErrorRule,
}

/// The ends of an interval; one that the scenarios do not reach is null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The smaller loss.
    pub lower: Option<f64>,
    /// The larger loss.
    pub upper: Option<f64>,
    /// How it was computed.
    pub rule: ErrorRule,
}

/// Intervals that hold the true value with probability `level`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceInterval {
    /// 0.95.
    pub level: f64,
    /// Of VaR.
    pub var: Interval,
    /// Of ES.
    pub es: Interval,
}

/// Value at risk and expected shortfall, losses positive, in the unit of the positions, and what each position adds.
///
/// Lists have one number per position, and are absent where the question brought P&L in place of positions, or asked
/// for none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VarAnswer {
    /// Value at risk.
    pub var: f64,
    /// Expected shortfall, the mean loss of the scenarios up to that of VaR.
    pub es: f64,
    /// How uncertain both are.
    pub standard_error: StandardError,
    /// How uncertain both are.
    pub confidence_interval: ConfidenceInterval,
    /// The loss of each position in the scenario of VaR, or its part of a closed form by Euler's rule. Their sum is VaR. With
    /// second derivatives, a position has those by its asset alone and half of each mixed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_var: Option<Vec<f64>>,
    /// The derivative of VaR by the value of each position; second derivatives stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marginal_var: Option<Vec<f64>>,
    /// VaR less VaR without the position, and without every second derivative by its asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental_var: Option<Vec<f64>>,
    /// The same of ES: the mean loss of each position in its scenarios. Their sum is ES.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_es: Option<Vec<f64>>,
    /// The derivative of ES by the value of each position; second derivatives stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marginal_es: Option<Vec<f64>>,
    /// ES less ES without the position, and without every second derivative by its asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental_es: Option<Vec<f64>>,
    /// The spectral measure, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectral: Option<f64>,
    /// The entropic value at risk, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evar: Option<f64>,
    /// What was asked.
    pub method: Method,
    /// What was asked.
    pub convention: QuantileConvention,
    /// What was asked.
    pub confidence: f64,
    /// What was asked.
    pub horizon_days: f64,
    /// What was asked.
    pub horizon_rule: HorizonRule,
    /// How many scenarios the measures were taken over.
    pub scenarios: usize,
    /// Who multiplied; null where nothing had to be.
    pub backend: Option<BackendId>,
    /// monte_carlo: how scenarios were drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulation: Option<Simulation>,
    /// cornish_fisher and saddlepoint: of the P&L that they describe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub higher_moments: Option<HigherMoments>,
    /// Microseconds that the calculation took; filled in by who has a clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_us: Option<u64>,
}
