//! Paths: every asset's return over the horizon in a block of drawn scenarios, and the P&L that follows.

use nautilus_hardware::{Error, Hardware, Matrix, MatrixMut};

use super::factor::Factored;
use super::moments::Moments;
use super::normals::{BLOCK, Draws};
use crate::RiskError;

/// Rows of the factor that are multiplied at once: above them it is zero, and most of that is left out.
const PANEL: usize = 64;

/// What becomes of correlated normal numbers.
#[derive(Debug)]
pub(crate) enum Shape {
    Normal,
    /// A common factor √((ν − 2)/ν)·√(ν/χ²) keeps the covariance.
    StudentT {
        degrees_of_freedom: f64,
    },
    /// Ranks under Student's t select past returns.
    Copula {
        degrees_of_freedom: f64,
        margins: Margins,
    },
}

impl Shape {
    pub(crate) const fn degrees_of_freedom(&self) -> Option<f64> {
        match self {
            Self::Normal => None,
            Self::StudentT { degrees_of_freedom } | Self::Copula { degrees_of_freedom, .. } => {
                Some(*degrees_of_freedom)
            }
        }
    }
}

/// Each asset's past returns in order, and the t quantiles between which each is drawn.
#[derive(Debug)]
pub(crate) struct Margins {
    /// t quantiles of k/T, k = 1 … T − 1.
    bounds: Vec<f64>,
    /// How many bounds lie below each of equal cells from the first bound on.
    below: Vec<usize>,
    cells_per_unit: f64,
    /// assets × T, ascending, over the horizon.
    sorted: Vec<f64>,
}

impl Margins {
    /// Cells of which most hold no bound.
    const CELLS: u32 = 1 << 14;

    /// `bounds` are the t quantiles of k/T, k = 1 … T − 1; `sorted` has T returns of each asset, ascending.
    pub(crate) fn new(bounds: Vec<f64>, sorted: Vec<f64>) -> Self {
        let (first, last) = (bounds[0], bounds[bounds.len() - 1]);
        let width = (last - first) / f64::from(Self::CELLS);
        let cells_per_unit = if width > 0.0 { 1.0 / width } else { 0.0 };
        // A cell's place may round to the one before it: counted from there, none is left out.
        let start = |cell: u32| first + width * (f64::from(cell) - 1.0);
        let below = (0..=Self::CELLS).map(|cell| bounds.partition_point(|bound| *bound < start(cell)));
        let below = below.collect();
        Self { bounds, below, cells_per_unit, sorted }
    }

    /// The return that x selects: the quantile of F(x) by `inverted_cdf`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn of(&self, asset: usize, x: f64) -> f64 {
        // A cast holds what is outside to the ends.
        let cell = (((x - self.bounds[0]) * self.cells_per_unit) as u32).min(Self::CELLS);
        let mut place = self.below[cell as usize];
        while self.bounds.get(place).is_some_and(|bound| *bound < x) {
            place += 1;
        }
        self.sorted[asset * (self.bounds.len() + 1) + place]
    }
}

/// Everything that paths follow from. Assets stand in the factor's order.
#[derive(Debug)]
pub(crate) struct Paths<'a> {
    pub(crate) hardware: &'a Hardware,
    pub(crate) draws: Draws,
    pub(crate) shape: Shape,
    pub(crate) factor: Factored,
    pub(crate) exposures: Vec<f64>,
    mean: Vec<f64>,
    /// F′e: what a path's independent numbers are worth, where P&L is a sum of them.
    direction: Vec<f64>,
    field: &'static str,
}

/// A block of paths, one asset's returns after the other.
#[derive(Debug)]
pub(crate) struct Block {
    normals: Vec<f64>,
    mixing: Vec<f64>,
    /// assets × width, assets in the factor's order.
    pub(crate) returns: Vec<f64>,
    pub(crate) pnl: Vec<f64>,
}

impl<'a> Paths<'a> {
    pub(crate) fn new(
        hardware: &'a Hardware,
        draws: Draws,
        shape: Shape,
        factor: Factored,
        moments: &Moments<'_>,
    ) -> Result<Self, RiskError> {
        let ordered =
            |values: &dyn Fn(usize) -> f64| factor.order.iter().map(|asset| values(*asset)).collect();
        let exposures: Vec<f64> = ordered(&|asset| moments.exposures[asset]);
        let mean = ordered(&|asset| moments.mean[asset]);
        let mut direction = vec![0.0; factor.rank()];
        let matrix = Matrix::row_major(&factor.rows, exposures.len(), factor.rank());
        let multiplied = matrix
            .map_err(Error::from)
            .and_then(|matrix| hardware.gemv(1.0, matrix.transposed(), &exposures, 0.0, &mut direction));
        multiplied.map_err(|error| broken(moments.field, &error))?;
        Ok(Self { hardware, draws, shape, factor, exposures, mean, direction, field: moments.field })
    }

    pub(crate) fn assets(&self) -> usize {
        self.exposures.len()
    }

    /// Room for blocks of any width.
    pub(crate) fn block(&self) -> Block {
        Block {
            normals: vec![0.0; self.factor.rank() * BLOCK],
            mixing: vec![0.0; BLOCK],
            returns: vec![0.0; self.assets() * BLOCK],
            pnl: vec![0.0; BLOCK],
        }
    }

    fn draw(&self, block: &mut Block, first: usize, width: usize) {
        let normals = &mut block.normals[..self.factor.rank() * width];
        self.draws.normals(self.hardware, first, width, normals);
        if let Some(degrees_of_freedom) = self.shape.degrees_of_freedom() {
            self.draws.mixing(self.hardware, degrees_of_freedom, first, &mut block.mixing[..width]);
        }
    }

    /// P&L of `width` paths from `first` on, without the returns: equal to that of [`Paths::full`] but for the order of sums.
    /// Only where P&L is linear in normal numbers; a copula's is not.
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn projected(&self, block: &mut Block, first: usize, width: usize) -> Result<(), RiskError> {
        self.draw(block, first, width);
        let Block { normals, mixing, pnl, .. } = block;
        let rank = self.factor.rank();
        let matrix = Matrix::row_major(&normals[..rank * width], rank, width).map_err(Error::from);
        matrix
            .and_then(|matrix| {
                self.hardware.gemv(1.0, matrix.transposed(), &self.direction, 0.0, &mut pnl[..width])
            })
            .map_err(|error| broken(self.field, &error))?;
        if let Shape::StudentT { degrees_of_freedom } = self.shape {
            let keep = covariance_factor(degrees_of_freedom);
            pnl.iter_mut().zip(mixing).for_each(|(pnl, mixing)| *pnl *= keep * *mixing);
        }
        let mean: f64 = self.mean.iter().zip(&self.exposures).map(|(mean, exposure)| mean * exposure).sum();
        pnl.iter_mut().for_each(|pnl| *pnl += mean);
        Ok(())
    }

    /// Every asset's return in `width` paths from `first` on, and their P&L.
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn full(&self, block: &mut Block, first: usize, width: usize) -> Result<(), RiskError> {
        self.draw(block, first, width);
        self.revalue(block, width)
    }

    /// Every asset's return in the given paths, at most [`BLOCK`], whichever they are.
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn again(&self, block: &mut Block, paths: &[usize]) -> Result<(), RiskError> {
        let (width, mut one) = (paths.len(), self.block());
        for (column, path) in paths.iter().enumerate() {
            self.draw(&mut one, *path, 1);
            for (row, number) in one.normals[..self.factor.rank()].iter().enumerate() {
                block.normals[row * width + column] = *number;
            }
            block.mixing[column] = one.mixing[0];
        }
        self.revalue(block, width)
    }

    fn revalue(&self, block: &mut Block, width: usize) -> Result<(), RiskError> {
        self.multiply(block, width).map_err(|error| broken(self.field, &error))?;
        let Block { mixing, returns, pnl, .. } = block;
        let rows = returns.chunks_exact_mut(width).zip(&self.factor.order).zip(&self.mean);
        match &self.shape {
            Shape::Normal => {
                for ((row, _), mean) in rows {
                    row.iter_mut().for_each(|value| *value += mean);
                }
            }
            Shape::StudentT { degrees_of_freedom } => {
                let keep = covariance_factor(*degrees_of_freedom);
                mixing.iter_mut().for_each(|mixing| *mixing *= keep);
                for ((row, _), mean) in rows {
                    row.iter_mut().zip(&*mixing).for_each(|(value, mixing)| *value = *value * mixing + mean);
                }
            }
            Shape::Copula { margins, .. } => {
                for ((row, asset), _) in rows {
                    row.iter_mut()
                        .zip(&*mixing)
                        .for_each(|(value, mixing)| *value = margins.of(*asset, *value * mixing));
                }
            }
        }
        let matrix = Matrix::row_major(returns, self.assets(), width).map_err(Error::from);
        matrix
            .and_then(|matrix| {
                self.hardware.gemv(1.0, matrix.transposed(), &self.exposures, 0.0, &mut pnl[..width])
            })
            .map_err(|error| broken(self.field, &error))?;
        Ok(())
    }

    /// returns ← F · normals, panel by panel of F, each without the columns that are zero in all of it.
    fn multiply(&self, block: &mut Block, width: usize) -> Result<(), Error> {
        let (assets, rank) = (self.assets(), self.factor.rank());
        for top in (0..assets).step_by(PANEL) {
            let rows = PANEL.min(assets - top);
            let columns = rank.min(top + rows);
            let factor = Matrix::row_major(&self.factor.rows, assets, rank)?.block(top, rows, 0, columns);
            let normals = Matrix::row_major(&block.normals[..columns * width], columns, width)?;
            let to = &mut block.returns[top * width..(top + rows) * width];
            self.hardware.gemm(1.0, factor, normals, 0.0, MatrixMut::row_major(to, rows, width)?)?;
        }
        Ok(())
    }
}

/// Student's t of ν degrees of freedom has the variance ν/(ν − 2).
fn covariance_factor(degrees_of_freedom: f64) -> f64 {
    libm::sqrt((degrees_of_freedom - 2.0) / degrees_of_freedom)
}

fn broken(field: &str, error: &Error) -> RiskError {
    RiskError::new("hardware", field, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_find_what_a_search_finds() {
        let bounds: Vec<f64> =
            (1..700).map(|k| nautilus_numerics::student_t_quantile(f64::from(k) / 700.0, 2.5)).collect();
        let margins = Margins::new(bounds.clone(), (0..1400).map(f64::from).collect());
        let between = bounds.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
        let around = bounds.iter().flat_map(|x| [x.next_down(), *x, x.next_up()]);
        for x in around.chain(between).chain([-1e9, -30.0, 0.0, 30.0, 1e9]) {
            let expected = bounds.partition_point(|bound| *bound < x);
            assert_eq!(margins.of(1, x), (700 + expected) as f64, "{x}");
        }
        assert_eq!(Margins::new(vec![0.0], vec![1.0, 2.0]).of(0, 0.1), 2.0);
    }
}
