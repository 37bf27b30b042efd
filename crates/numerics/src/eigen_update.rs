//! Eigenvalues of a symmetric matrix to which a matrix of rank one is added, without decomposing it anew.
//!
//! The secular equation (Golub, Some modified matrix eigenvalue problems, 1973) with deflation (Bunch, Nielsen and Sorensen
//! 1978); eigenvectors from weights for which the computed eigenvalues are exact (Gu and Eisenstat, A stable and efficient
//! algorithm for the rank-one modification of the symmetric eigenproblem, 1994), so that they are orthogonal to rounding.

/// Evaluations of the secular equation for one eigenvalue, at most; six are usual.
const EVALUATIONS_MAX: usize = 200;

/// Turns `values` λ into the eigenvalues of diag(λ) + weight·z·z′, and each of `vectors` from coordinates along the old axes
/// into those along the new eigenvectors. Of n values, n² operations for each step and for each vector. The values are in no
/// particular order, and stay in none; which of v and −v an eigenvector is means nothing.
///
/// # Panics
/// `z` or a vector is not as long as `values`.
pub fn rank_one_update(values: &mut [f64], weight: f64, z: &[f64], vectors: &mut [&mut [f64]]) {
    assert_eq!(values.len(), z.len(), "one weight per eigenvalue");
    let sign = 1.0_f64.copysign(weight);
    values.iter_mut().for_each(|value| *value *= sign);
    let root = weight.abs().sqrt();
    let mut z: Vec<f64> = z.iter().map(|z| root * z).collect();
    let kept = deflated(values, &mut z, vectors);
    let poles: Vec<f64> = kept.iter().map(|at| values[*at]).collect();
    let weights: Vec<f64> = kept.iter().map(|at| z[*at]).collect();
    let squares: Vec<f64> = weights.iter().map(|weight| weight * weight).collect();
    let roots: Vec<Root> = (0..kept.len()).map(|place| Root::of(&poles, &squares, place)).collect();
    let weights = consistent(&poles, &weights, &roots);
    let mut turned = vec![vec![0.0; kept.len()]; vectors.len()];
    for (place, root) in roots.iter().enumerate() {
        let direction: Vec<f64> =
            poles.iter().zip(&weights).map(|(pole, weight)| weight / root.below(&poles, *pole)).collect();
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        for (turned, vector) in turned.iter_mut().zip(vectors.iter()) {
            let along: f64 = direction.iter().zip(&kept).map(|(x, at)| x * vector[*at]).sum();
            turned[place] = along / length;
        }
        values[kept[place]] = poles[root.nearest] + root.offset;
    }
    for (vector, turned) in vectors.iter_mut().zip(turned) {
        kept.iter().zip(turned).for_each(|(at, along)| vector[*at] = along);
    }
    values.iter_mut().for_each(|value| *value *= sign);
}

/// The places that change, their values rising strictly. Where z is rounding nothing changes; of two values that are one but
/// for rounding, axes are turned until one has all of z.
fn deflated(values: &mut [f64], z: &mut [f64], vectors: &mut [&mut [f64]]) -> Vec<usize> {
    let length = z.iter().map(|z| z * z).sum::<f64>().sqrt();
    let largest = values.iter().fold(length * length, |largest, value| largest.max(value.abs()));
    let rounding = 8.0 * f64::EPSILON * largest;
    let mut order: Vec<usize> = (0..z.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut kept: Vec<usize> = Vec::new();
    for at in order {
        if length * z[at].abs() <= rounding {
            continue;
        }
        if let Some(last) = kept.last().copied() {
            let both = z[last].hypot(z[at]);
            let (cosine, sine) = (z[at] / both, z[last] / both);
            if ((values[at] - values[last]) * cosine * sine).abs() <= rounding {
                let (low, high) = (values[last], values[at]);
                values[last] = low * cosine * cosine + high * sine * sine;
                values[at] = low * sine * sine + high * cosine * cosine;
                (z[last], z[at]) = (0.0, both);
                for vector in vectors.iter_mut() {
                    let (x, y) = (vector[last], vector[at]);
                    (vector[last], vector[at]) = (cosine * x - sine * y, sine * x + cosine * y);
                }
                kept.pop();
            }
        }
        kept.push(at);
    }
    kept
}

/// An eigenvalue as the pole nearest to it and what it lies beyond that, so that its distance to every pole is known to
/// rounding.
struct Root {
    nearest: usize,
    offset: f64,
}

impl Root {
    /// pole − root.
    fn below(&self, poles: &[f64], pole: f64) -> f64 {
        (pole - poles[self.nearest]) - self.offset
    }

    /// The zero of 1 + Σ z²/(pole − x) between the poles `place` and `place + 1`, or beyond the last.
    fn of(poles: &[f64], squares: &[f64], place: usize) -> Self {
        let last = place + 1 == poles.len();
        let gap = if last { squares.iter().sum() } else { poles[place + 1] - poles[place] };
        let middle = secular(poles, squares, place, poles[place], 0.5 * gap);
        // The function rises from one pole to the next.
        let right = !last && middle.value < 0.0;
        let nearest = if right { place + 1 } else { place };
        let origin = poles[nearest];
        let (mut low, mut high) = match (last, right) {
            (true, _) => (0.0, 1.000_000_1 * gap),
            (false, false) => (0.0, 0.5 * gap),
            (false, true) => (-0.5 * gap, 0.0),
        };
        let mut offset = 0.5 * (low + high);
        for _ in 0..EVALUATIONS_MAX {
            let at = secular(poles, squares, place, origin, offset);
            if at.value.abs() <= f64::EPSILON * at.size {
                break;
            }
            if at.value < 0.0 {
                low = offset;
            } else {
                high = offset;
            }
            let left = poles[place] - origin - offset;
            let step = match poles.get(place + 1) {
                Some(next) => at.between(left, next - origin - offset),
                None => left + at.left * left * left / (at.value - at.left * left),
            };
            let next = offset + step;
            let next = if next > low && next < high { next } else { 0.5 * (low + high) };
            if next == offset || next == low || next == high {
                break;
            }
            offset = next;
        }
        Self { nearest, offset }
    }
}

/// 1 + Σ z²/(pole − x), the derivatives of its terms up to a place and beyond it, and the sum of its terms' sizes.
struct Secular {
    value: f64,
    left: f64,
    right: f64,
    size: f64,
}

impl Secular {
    /// The step to the zero of c + s/(left − step) + S/(right − step) that has the same value and derivatives of both parts
    /// (Li, LAPACK working note 89, 1993).
    fn between(&self, left: f64, right: f64) -> f64 {
        let c = self.value - left * self.left - right * self.right;
        let a = (left + right) * self.value - left * right * (self.left + self.right);
        let b = left * right * self.value;
        let root = (a * a - 4.0 * b * c).max(0.0).sqrt();
        if a <= 0.0 { (a - root) / (2.0 * c) } else { 2.0 * b / (a + root) }
    }
}

fn secular(poles: &[f64], squares: &[f64], place: usize, origin: f64, offset: f64) -> Secular {
    let part = |poles: &[f64], squares: &[f64]| {
        poles.iter().zip(squares).fold((0.0, 0.0), |(value, slope), (pole, square)| {
            let inverse = 1.0 / ((pole - origin) - offset);
            let term = square * inverse;
            (value + term, slope + term * inverse)
        })
    };
    let (below, left) = part(&poles[..=place], &squares[..=place]);
    let (above, right) = part(&poles[place + 1..], &squares[place + 1..]);
    Secular { value: 1.0 + below + above, left, right, size: 1.0 + above - below }
}

/// The weights for which the roots are exact: z² = Π (root − pole)/Π (other pole − pole).
fn consistent(poles: &[f64], weights: &[f64], roots: &[Root]) -> Vec<f64> {
    let weight = |(at, (pole, weight)): (usize, (&f64, &f64))| {
        let mut square = 1.0;
        for (place, root) in roots.iter().enumerate() {
            let distance = -root.below(poles, *pole);
            let other = if place < at { poles.get(place) } else { poles.get(place + 1) };
            square *= other.map_or(distance, |other| distance / (other - pole));
        }
        square.abs().sqrt().copysign(*weight)
    };
    poles.iter().zip(weights).enumerate().map(weight).collect()
}

#[cfg(test)]
#[path = "eigen_update_tests.rs"]
mod tests;
