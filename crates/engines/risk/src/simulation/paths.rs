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
    pub(crate) mean: Vec<f64>,
    /// F′e: what a path's independent numbers are worth, where P&L is a sum of them.
    direction: Vec<f64>,
    field: &'static str,
}

/// A block of paths, one asset's returns after the other.
#[derive(Debug)]
pub(crate) struct Block {
    /// rank × width, or width × rank where paths were chosen one by one.
    normals: Vec<f64>,
    mixing: Vec<f64>,
    /// assets × width, assets in the factor's order.
    pub(crate) returns: Vec<f64>,
    pub(crate) pnl: Vec<f64>,
    /// How far no asset's return lies from its mean, in its standard deviations: the length of the path's normal numbers.
    pub(crate) reach: Vec<f64>,
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
            reach: vec![0.0; BLOCK],
        }
    }

    fn draw(&self, block: &mut Block, first: usize, width: usize) {
        let normals = &mut block.normals[..self.factor.rank() * width];
        self.draws.normals(self.hardware, first, width, normals);
        if let Some(degrees_of_freedom) = self.shape.degrees_of_freedom() {
            self.draws.mixing(self.hardware, degrees_of_freedom, first, &mut block.mixing[..width]);
        }
    }

    /// The given paths, at most [`BLOCK`], one after the other.
    fn draw_some(&self, block: &mut Block, paths: &[usize]) {
        let rank = self.factor.rank();
        for (column, path) in paths.iter().enumerate() {
            let normals = &mut block.normals[column * rank..][..rank];
            self.draws.normals(self.hardware, *path, 1, normals);
            if let Some(degrees_of_freedom) = self.shape.degrees_of_freedom() {
                let mixing = &mut block.mixing[column..=column];
                self.draws.mixing(self.hardware, degrees_of_freedom, *path, mixing);
            }
        }
    }

    /// P&L and reach of `width` paths from `first` on, without the returns: equal to that of [`Paths::full`] but for the order
    /// of sums. Only where P&L is linear in normal numbers; a copula's is not.
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn projected(&self, block: &mut Block, first: usize, width: usize) -> Result<(), RiskError> {
        self.draw(block, first, width);
        let Block { normals, mixing, pnl, reach, .. } = block;
        let rank = self.factor.rank();
        let matrix = Matrix::row_major(&normals[..rank * width], rank, width).map_err(Error::from);
        matrix
            .and_then(|matrix| {
                self.hardware.gemv(1.0, matrix.transposed(), &self.direction, 0.0, &mut pnl[..width])
            })
            .map_err(|error| broken(self.field, &error))?;
        self.hardware.vectorised(
            #[inline(always)]
            || lengths(&normals[..rank * width], &mut reach[..width]),
        );
        if let Shape::StudentT { degrees_of_freedom } = self.shape {
            let keep = covariance_factor(degrees_of_freedom);
            for ((pnl, reach), mixing) in pnl.iter_mut().zip(reach).zip(mixing) {
                *pnl *= keep * *mixing;
                *reach *= keep * *mixing;
            }
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
        let Block { normals, mixing, returns, pnl, .. } = block;
        let drawn = Matrix::row_major(&normals[..self.factor.rank() * width], self.factor.rank(), width);
        let returns = &mut returns[..self.assets() * width];
        let multiplied = drawn.map_err(Error::from).and_then(|drawn| {
            self.multiply(drawn, returns)?;
            self.revalue(returns, &mut mixing[..width], 0..self.assets());
            let matrix = Matrix::row_major(returns, self.assets(), width)?;
            self.hardware.gemv(1.0, matrix.transposed(), &self.exposures, 0.0, &mut pnl[..width])
        });
        multiplied.map(drop).map_err(|error| broken(self.field, &error))
    }

    /// Every asset's return in the given paths, at most [`BLOCK`], whichever they are.
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn again(&self, block: &mut Block, paths: &[usize]) -> Result<(), RiskError> {
        self.chosen(block, paths, 0..self.assets(), |normals, returns| self.multiply(normals, returns))
    }

    /// The same of some assets: `factor` has a row for each.
    ///
    /// # Errors
    /// No backend could multiply.
    pub(crate) fn some(
        &self,
        block: &mut Block,
        paths: &[usize],
        (assets, factor): (&[usize], &[f64]),
    ) -> Result<(), RiskError> {
        self.chosen(block, paths, assets.iter().copied(), |normals, returns| {
            let factor = Matrix::row_major(factor, assets.len(), self.factor.rank())?;
            let to = MatrixMut::row_major(returns, assets.len(), paths.len())?;
            self.hardware.gemm(1.0, factor, normals, 0.0, to).map(drop)
        })
    }

    fn chosen(
        &self,
        block: &mut Block,
        paths: &[usize],
        assets: impl ExactSizeIterator<Item = usize>,
        multiply: impl FnOnce(Matrix<'_, f64>, &mut [f64]) -> Result<(), Error>,
    ) -> Result<(), RiskError> {
        self.draw_some(block, paths);
        let (rank, width) = (self.factor.rank(), paths.len());
        let Block { normals, mixing, returns, .. } = block;
        let returns = &mut returns[..assets.len() * width];
        Matrix::row_major(&normals[..width * rank], width, rank)
            .map_err(Error::from)
            .and_then(|drawn| multiply(drawn.transposed(), returns))
            .map_err(|error| broken(self.field, &error))?;
        self.revalue(returns, &mut mixing[..width], assets);
        Ok(())
    }

    /// What becomes of the products, one row for each of `assets`.
    fn revalue(&self, rows: &mut [f64], mixing: &mut [f64], assets: impl Iterator<Item = usize>) {
        let rows = rows.chunks_exact_mut(mixing.len()).zip(assets);
        match &self.shape {
            Shape::Normal => {
                for (row, asset) in rows {
                    row.iter_mut().for_each(|value| *value += self.mean[asset]);
                }
            }
            Shape::StudentT { degrees_of_freedom } => {
                let keep = covariance_factor(*degrees_of_freedom);
                mixing.iter_mut().for_each(|mixing| *mixing *= keep);
                for (row, asset) in rows {
                    let mean = self.mean[asset];
                    row.iter_mut().zip(&*mixing).for_each(|(value, mixing)| *value = *value * mixing + mean);
                }
            }
            Shape::Copula { margins, .. } => {
                for (row, asset) in rows {
                    let asset = self.factor.order[asset];
                    row.iter_mut()
                        .zip(&*mixing)
                        .for_each(|(value, mixing)| *value = margins.of(asset, *value * mixing));
                }
            }
        }
    }

    /// returns ← F · normals, panel by panel of F, each without the columns that are zero in all of it.
    fn multiply(&self, normals: Matrix<'_, f64>, returns: &mut [f64]) -> Result<(), Error> {
        let (assets, rank, width) = (self.assets(), self.factor.rank(), normals.columns());
        for top in (0..assets).step_by(PANEL) {
            let rows = PANEL.min(assets - top);
            let columns = rank.min(top + rows);
            let factor = Matrix::row_major(&self.factor.rows, assets, rank)?.block(top, rows, 0, columns);
            let normals = normals.block(0, columns, 0, width);
            let to = &mut returns[top * width..(top + rows) * width];
            self.hardware.gemm(1.0, factor, normals, 0.0, MatrixMut::row_major(to, rows, width)?)?;
        }
        Ok(())
    }
}

/// The length of each column, `lengths.len()` of them in each row.
#[inline(always)]
fn lengths(rows: &[f64], lengths: &mut [f64]) {
    lengths.fill(0.0);
    for row in rows.chunks_exact(lengths.len()) {
        lengths.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * value);
    }
    lengths.iter_mut().for_each(|sum| *sum = sum.sqrt());
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
