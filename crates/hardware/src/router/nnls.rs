//! Least squares with weights that are not negative.

/// The `w` ≥ 0 with the least ‖X·w − 1‖², rows of X being `rows`: cyclic coordinate descent on the normal equations
/// (Franc, Hlaváč and Navara, Sequential Coordinate-Wise Algorithm for the Non-negative Least Squares Problem, 2005).
pub(super) fn fit_ones<const N: usize>(rows: &[[f64; N]]) -> [f64; N] {
    // Columns are scaled to length 1, because terms differ by many powers of ten.
    let scale: [f64; N] = std::array::from_fn(|j| {
        let length = rows.iter().map(|row| row[j] * row[j]).sum::<f64>().sqrt();
        if length > 0.0 { 1.0 / length } else { 0.0 }
    });
    let dot = |i: usize, j: usize| rows.iter().map(|row| row[i] * row[j]).sum::<f64>() * scale[i] * scale[j];
    let gram: [[f64; N]; N] = std::array::from_fn(|i| std::array::from_fn(|j| dot(i, j)));
    let target: [f64; N] = std::array::from_fn(|j| rows.iter().map(|row| row[j]).sum::<f64>() * scale[j]);
    let mut weights = [0.0; N];
    for _ in 0..SWEEPS {
        let mut moved = 0.0_f64;
        for j in (0..N).filter(|&j| scale[j] > 0.0) {
            let slope: f64 = gram[j].iter().zip(&weights).map(|(g, w)| g * w).sum::<f64>() - target[j];
            let new = (weights[j] - slope / gram[j][j]).max(0.0);
            moved = moved.max((new - weights[j]).abs());
            weights[j] = new;
        }
        if moved < 1e-9 {
            break;
        }
    }
    std::array::from_fn(|j| weights[j] * scale[j])
}

const SWEEPS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_holds_exactly_is_found_and_none_is_negative() {
        // t = 100 + 3x, and a column of noise that would want a negative weight.
        let rows: Vec<[f64; 3]> = (1..40)
            .map(|x| {
                let x = f64::from(x * x);
                let t = 100.0 + 3.0 * x;
                [1.0 / t, x / t, (1_000.0 - x).max(0.0) / t]
            })
            .collect();
        let [start, slope, other] = fit_ones(&rows);
        assert!((start - 100.0).abs() < 2.0 && (slope - 3.0).abs() < 0.05, "{start} {slope}");
        assert!((0.0..0.01).contains(&other), "{other}");
    }

    #[test]
    fn nothing_and_zeros_are_fitted_by_zeros() {
        assert_eq!(fit_ones::<2>(&[]), [0.0; 2]);
        assert_eq!(fit_ones(&[[0.0, 2.0]]), [0.0, 0.5]);
    }
}
