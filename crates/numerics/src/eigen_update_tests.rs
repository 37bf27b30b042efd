//! Updated eigenvalues against those of the whole matrix.

use ndarray::Array2;
use proptest::prelude::*;

use super::rank_one_update;
use crate::symmetric_eigen;

/// Values against those of the decomposed sum, and two vectors against their products with powers of it: what the update
/// says of x′(D + ρzz′)ᵏy, k = 0, 1, 2.
fn check(values: &[f64], weight: f64, z: &[f64], x: &[f64], y: &[f64]) {
    let n = values.len();
    let element = |(i, j): (usize, usize)| weight * z[i] * z[j] + if i == j { values[i] } else { 0.0 };
    let matrix = Array2::from_shape_fn((n, n), element);
    let (expected, _) = symmetric_eigen(&matrix).unwrap();
    let added = weight.abs() * z.iter().map(|z| z * z).sum::<f64>();
    let size = values.iter().fold(added, |size, value| size.max(value.abs()));
    let (mut found, mut turned_x, mut turned_y) = (values.to_vec(), x.to_vec(), y.to_vec());
    rank_one_update(&mut found, weight, z, &mut [&mut turned_x, &mut turned_y]);
    let mut sorted = found.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    for (found, expected) in sorted.iter().zip(&expected) {
        assert!((found - expected).abs() <= 1e-13 * size, "{found} {expected} of {values:?} {weight} {z:?}");
    }
    let mut power = x.to_vec();
    for k in 0..3 {
        let expected: f64 = power.iter().zip(y).map(|(a, b)| a * b).sum();
        let got: f64 =
            found.iter().zip(&turned_x).zip(&turned_y).map(|((value, x), y)| value.powi(k) * x * y).sum();
        let tolerance = 1e-12 * size.powi(k) * n as f64;
        assert!((got - expected).abs() <= tolerance, "{k}: {got} {expected} of {values:?} {weight} {z:?}");
        power =
            matrix.rows().into_iter().map(|row| row.iter().zip(&power).map(|(a, b)| a * b).sum()).collect();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_update_is_the_decomposition_of_the_sum(
        n in 1..30_usize,
        numbers in prop::collection::vec(-1.0..1.0_f64, 4 * 30),
        weight in prop::sample::select(vec![-3.0, -1.0, -1e-9, 0.0, 1e-14, 1e-3, 1.0, 1e4]),
        spread in 0..14_i32,
        grid in prop::sample::select(vec![0.0, 1.0, 4.0]),
    ) {
        // On a grid some values are equal, and some weights nothing.
        let rounded = |x: f64| if grid > 0.0 { (grid * x).round() / grid } else { x };
        let part = |k: usize| numbers[30 * k..30 * k + n].iter().map(|x| rounded(*x)).collect::<Vec<f64>>();
        let (values, mut z, x, y) = (part(0), part(1), part(2), part(3));
        z.iter_mut().enumerate().for_each(|(at, z)| *z *= 10_f64.powi(-spread * (at as i32 % 4)));
        check(&values, weight, &z, &x, &y);
    }
}

#[test]
fn neighbours_nothing_and_one() {
    let near = [1.0, 1.0 + 1e-15, 1.0 + 1e-12, 1.0 - 1e-10, 0.0, -1e-300];
    check(&near, 1.0, &[0.1, 0.2, 0.3, 1e-9, 0.5, 0.25], &[1.0; 6], &[1.0, -1.0, 0.5, 2.0, 0.0, 1.0]);
    check(&[0.0; 4], -2.0, &[1.0, 2.0, 3.0, 4.0], &[1.0; 4], &[1.0, 0.0, -1.0, 0.5]);
    check(&[2.0], -2.0, &[1.0], &[3.0], &[1.0]);
    rank_one_update(&mut [], 1.0, &[], &mut []);
}
