//! t
pub(super) fn normal_density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / (2.0 * std::f64::consts::PI).sqrt()
}
pub(super) fn normal_quantile(p: f64) -> f64 {
    let (mut a, mut b) = (-40.0, 40.0);
    for _ in 0..200 {
        let m = 0.5 * (a + b);
        if nautilus_numerics::normal_cdf(m) < p { a = m } else { b = m }
    }
    0.5 * (a + b)
}
