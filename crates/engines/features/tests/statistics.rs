//! Rolling statistics and volatilities against values that numpy computed of each window afresh and that agree with
//! pandas: `reference/statistics.py`.
//!
//! The tolerance is 1e-9 of the value, or 1e-11 of the column's largest where a value cancels towards zero.

use std::collections::BTreeMap;

use nautilus_engine_features::{CalculateRequest, Registry, Series, Template, Values, Wanted, calculate};

const SERIES: &str = include_str!("reference/series.csv");
const STATISTICS: &str = include_str!("reference/statistics.csv");

/// A line's cells; names with commas are quoted.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

fn table(text: &str) -> BTreeMap<String, Vec<Option<f64>>> {
    let mut lines = text.lines();
    let names = cells(lines.next().unwrap());
    let rows: Vec<Vec<String>> = lines.map(cells).collect();
    let column = |index: usize| rows.iter().map(|row| row[index].parse::<f64>().ok()).collect();
    names.into_iter().enumerate().map(|(index, name)| (name, column(index))).collect()
}

/// The formula of a column of the reference.
fn formula(column: &str) -> String {
    let (name, arguments) = column.trim_end_matches(')').split_once('(').expect(column);
    let arguments = arguments.replace("volume_change", "change(volume, 1)");
    let n = arguments.rsplit(',').next().unwrap();
    match name {
        "autocorr" => format!("autocorrelation({arguments})"),
        "mad" => format!("mean_deviation({arguments})"),
        "beta" => format!("slope(change(volume, 1), ret, {n})"),
        "hurst" => format!("hurst(log_ret, {n})"),
        "vwap" => format!("sum(typical * volume, {n}) / sum(volume, {n})"),
        "realized_vol" => format!("sqrt(sum(log_ret * log_ret, {n}))"),
        "close_to_close" => format!("stdev(log_ret, {n})"),
        "amihud" => format!("mean(abs(ret) / (close * volume), {n})"),
        "roll" => {
            format!("2 * sqrt(larger(0, -covariance(diff(close, 1), lag(diff(close, 1), 1), {n})))")
        }
        _ => format!("{name}({arguments})"),
    }
}

fn template(id: &str, formula: &str) -> Template {
    toml::from_str(&format!("id = '{id}'\nformula = '{formula}'")).unwrap()
}

#[test]
fn every_column_of_the_reference_comes_out() {
    let (series, expected) = (table(SERIES), table(STATISTICS));
    let column = |name: &str| series[name].iter().map(|value| value.expect(name)).collect::<Vec<f64>>();
    let names: Vec<&String> = expected.keys().filter(|name| name.contains('(')).collect();
    assert!(names.len() >= 85, "{names:?}");
    let templates: Vec<Template> = names
        .iter()
        .enumerate()
        .map(|(index, name)| template(&format!("column_{index}"), &formula(name)))
        .collect();
    let registry = Registry::new(&templates).unwrap_or_else(|error| panic!("{error}"));
    let bars = Series {
        open: Some(column("open")),
        high: Some(column("high")),
        low: Some(column("low")),
        close: column("close"),
        volume: Some(column("volume")),
    };
    let answer = calculate(
        &registry,
        &CalculateRequest {
            series: [("S".to_owned(), bars)].into(),
            features: (0..names.len()).map(|index| format!("column_{index}")).collect(),
            output: Wanted::Series,
        },
    )
    .unwrap();
    let mut wrong = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let Values::Series(ours) = &answer.features["S"][&format!("column_{index}")] else {
            panic!("a series")
        };
        let largest = expected[*name].iter().flatten().fold(0.0f64, |most, x| most.max(x.abs()));
        for (bar, (ours, theirs)) in ours.iter().zip(&expected[*name]).enumerate() {
            let agrees = match (ours, theirs) {
                (Some(ours), Some(theirs)) => {
                    (ours - theirs).abs() <= (1e-9 * theirs.abs()).max(1e-11 * largest)
                }
                (None, None) => true,
                _ => false,
            };
            if !agrees {
                wrong.push(format!("{name} at bar {bar}: {ours:?}, not {theirs:?}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
