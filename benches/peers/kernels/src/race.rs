//! Rounds in which every contestant runs once, and the table of what they took.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nautilus_benches::Figures;

const ROUNDS: usize = 41;
/// How long one contestant runs in one round, roughly.
const TURN: Duration = Duration::from_micros(200);

/// Someone who does the work, with the name of the column.
pub struct Contestant<F: ?Sized> {
    /// The column.
    pub name: String,
    /// Does the work once.
    pub run: Box<F>,
}

/// Nanoseconds per call of every contestant, by rounds.
pub fn race<F: ?Sized>(entered: &mut [Contestant<F>], mut call: impl FnMut(&mut F)) -> Vec<Figures> {
    let mut timed = |run: &mut F, calls: u32| {
        let start = Instant::now();
        for _ in 0..calls {
            call(black_box(&mut *run));
        }
        start.elapsed()
    };
    // The first call of some is slow: they set themselves up.
    let calls: Vec<u32> = entered
        .iter_mut()
        .map(|contestant| {
            let first = (0..5).map(|_| timed(&mut contestant.run, 3)).min().unwrap_or_default() / 3;
            (TURN.as_nanos() / first.as_nanos().max(1)).clamp(1, 20_000) as u32
        })
        .collect();
    let mut figures = vec![Figures::default(); entered.len()];
    for round in 0..=ROUNDS {
        for turn in 0..entered.len() {
            let who = (round + turn) % entered.len();
            let took = timed(&mut entered[who].run, calls[who]);
            if round > 0 {
                figures[who].push(took.as_nanos() as f64 / f64::from(calls[who]));
            }
        }
    }
    figures
}

struct Row {
    label: String,
    size: usize,
    times: Vec<(String, Figures)>,
}

/// Nanoseconds per call: a row per shape, a column per contestant.
pub struct Table {
    title: String,
    rows: Vec<Row>,
}

impl Table {
    /// An empty table.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), rows: Vec::new() }
    }

    /// Adds what a race gave for a shape whose largest side is `size`.
    pub fn row<F: ?Sized>(
        &mut self,
        label: &str,
        size: usize,
        entered: &[Contestant<F>],
        times: Vec<Figures>,
    ) {
        let times = entered.iter().map(|contestant| contestant.name.clone()).zip(times).collect();
        self.rows.push(Row { label: label.to_owned(), size, times });
    }

    fn columns(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.rows.iter().flat_map(|row| &row.times) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// The table in Markdown; the best of a row is bold.
    pub fn text(&self) -> String {
        let columns = self.columns();
        let mut text = format!("### {}, ns per call, median of {ROUNDS} rounds\n\n| shape |", self.title);
        columns.iter().for_each(|name| text += &format!(" {name} |"));
        text += "\n|---|";
        columns.iter().for_each(|_| text += "--:|");
        for row in &self.rows {
            text += &format!("\n| {} |", row.label);
            let best = row.times.iter().map(|(_, times)| times.median()).fold(f64::INFINITY, f64::min);
            for column in &columns {
                text += &match row.find(column).map(Figures::median) {
                    None => " – |".to_owned(),
                    Some(time) if time <= best => format!(" **{}** |", figure(time)),
                    Some(time) => format!(" {} |", figure(time)),
                };
            }
        }
        text
    }

    /// How ours stand to each peer, and the router to the best of each row.
    pub fn goals(&self) -> String {
        let mut sentences = Vec::new();
        let ours = ["JIT plan", "router"];
        for column in self.columns() {
            if !ours.contains(&column) {
                let mut parts = Vec::new();
                for own in ours {
                    for (name, sizes) in [("up to 32", 0..=32), ("above", 33..=usize::MAX)] {
                        if let Some((mean, worst, lost)) = self.against(own, column, &sizes) {
                            parts.push(format!("{own} {name}: {mean:.2}× (worst {worst:.2}×, {lost} lost)"));
                        }
                    }
                }
                if !parts.is_empty() {
                    sentences.push(format!(
                        "- against {column}, geometric mean of the speed ratio: {}",
                        parts.join("; ")
                    ));
                }
            }
        }
        for row in self.rows.iter().filter(|row| row.size >= 64) {
            let Some(router) = row.find("router") else { continue };
            let (name, best) = row
                .times
                .iter()
                .filter(|(name, _)| name != "router")
                .min_by(|x, y| x.1.median().total_cmp(&y.1.median()))
                .expect("a row has columns");
            let ratio = router.ratio(best);
            let ratio = if ratio < 1.0 {
                format!("{:.1} % faster", (1.0 - ratio) * 100.0)
            } else {
                format!("{:.1} % slower", (ratio - 1.0) * 100.0)
            };
            sentences
                .push(format!("- {}: the router is {ratio} than the best other column, {name}", row.label));
        }
        sentences.join("\n")
    }

    /// The geometric mean and the worst of how many times faster `own` is, and in how many rows it is slower.
    fn against(
        &self,
        own: &str,
        peer: &str,
        sizes: &std::ops::RangeInclusive<usize>,
    ) -> Option<(f64, f64, usize)> {
        let ratios: Vec<f64> = self
            .rows
            .iter()
            .filter(|row| sizes.contains(&row.size))
            .filter_map(|row| Some(row.find(peer)?.median() / row.find(own)?.median()))
            .collect();
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let worst = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        (!ratios.is_empty()).then(|| (mean, worst, ratios.iter().filter(|&&ratio| ratio < 1.0).count()))
    }
}

impl Row {
    fn find(&self, column: &str) -> Option<&Figures> {
        self.times.iter().find(|(name, _)| name == column).map(|(_, times)| times)
    }
}

fn figure(nanoseconds: f64) -> String {
    match nanoseconds {
        small if small < 100.0 => format!("{small:.1}"),
        middle if middle < 1e6 => format!("{middle:.0}"),
        large => format!("{:.2} ms", large / 1e6),
    }
}
