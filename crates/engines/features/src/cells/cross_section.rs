//! Instruments beside each other when a bar closes: ranks, scores and differences in the universe or in a sector.
//!
//! The universe is every instrument whose newest bar is recent enough, with its newest value; the instruments that step
//! get results. Ties share the average rank. A group of one compares with nobody and has no result.

use crate::columns::{UNDEFINED, defined};
use crate::kernel::{Kernel, Task};
use crate::operations::{Operation, Ticks};

/// What is asked of a value among the others of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// 1 for the smallest.
    Rank,
    /// (rank − 1) ÷ (members − 1), in 0 … 1.
    Percentile,
    /// (x − mean) ÷ sample deviation.
    Score,
    /// x − mean.
    Difference,
}

/// One question over the universe, or over each sector.
#[derive(Debug)]
struct CrossSection {
    question: Question,
    by_sector: bool,
}

/// A group's values in rising order.
struct Group {
    sorted: Vec<f64>,
    mean: f64,
    deviation: f64,
}

impl Group {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let n = values.len() as f64;
        // In rising order, so that the order of the instruments makes no difference.
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        Self { mean, deviation: libm::sqrt(squares / (n - 1.0)), sorted: values }
    }

    fn answer(&self, question: Question, x: f64) -> f64 {
        let members = self.sorted.len();
        if members < 2 {
            return UNDEFINED;
        }
        let rank = || {
            let below = self.sorted.partition_point(|y| *y < x);
            let upto = self.sorted.partition_point(|y| *y <= x);
            (below + 1 + upto) as f64 / 2.0
        };
        defined(match question {
            Question::Rank => rank(),
            Question::Percentile => (rank() - 1.0) / (members - 1) as f64,
            Question::Score => (x - self.mean) / self.deviation,
            Question::Difference => x - self.mean,
        })
    }
}

impl Kernel for CrossSection {
    fn windows(&self) -> Vec<usize> {
        vec![0]
    }

    fn outputs(&self) -> usize {
        1
    }

    fn slots(&self) -> usize {
        0
    }

    fn warm(&self, _: usize) -> usize {
        0
    }

    fn is_local(&self) -> bool {
        false
    }

    fn run(&self, task: Task<'_>) {
        let (values, sectors) = (task.values(0), &task.universe.sectors);
        let sector = |row: usize| if self.by_sector { sectors[row] as usize } else { 0 };
        let count = 1 + if self.by_sector { sectors.iter().copied().max().unwrap_or(0) as usize } else { 0 };
        let mut members: Vec<Vec<f64>> = vec![Vec::new(); count];
        for &row in &task.universe.fresh {
            let value = values[row as usize];
            if !value.is_nan() {
                members[sector(row as usize)].push(value);
            }
        }
        let groups: Vec<Group> = members.into_iter().map(Group::new).collect();
        for &row in task.rows {
            let (row, x) = (row as usize, values[row as usize]);
            let without_sector = self.by_sector && sectors[row] == 0;
            task.out[0][row] = if x.is_nan() || without_sector {
                UNDEFINED
            } else {
                groups[sector(row)].answer(self.question, x)
            };
        }
    }
}

macro_rules! operation {
    ($name:literal, $words:literal, $question:ident, $by_sector:literal) => {
        Operation::new($name, 1, &[], $words, |_| {
            Ok(Box::new(CrossSection { question: Question::$question, by_sector: $by_sector }))
        })
        .ticking(Ticks::AtBars)
    };
}

pub(super) const OPERATIONS: &[Operation] = &[
    operation!("universe_rank", "the rank of x among all instruments, 1 for the smallest", Rank, false),
    operation!("universe_percentile", "the place of x among all instruments, in 0 … 1", Percentile, false),
    operation!("universe_score", "x less the mean of all instruments, in sample deviations", Score, false),
    operation!("universe_difference", "x less the mean of all instruments", Difference, false),
    operation!("sector_rank", "the rank of x in its sector, 1 for the smallest", Rank, true),
    operation!("sector_percentile", "the place of x in its sector, in 0 … 1", Percentile, true),
    operation!("sector_score", "x less the mean of its sector, in sample deviations", Score, true),
    operation!("sector_difference", "x less the mean of its sector", Difference, true),
];
