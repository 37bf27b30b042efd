//! The features against what Stock.Indicators, an independent library, computes from the same days.
//!
//! It works in decimals or in other orders of operations, so values agree within a tolerance, not bit by bit.

use crate::data::{of_formulas, quotes, text};

/// Of the greatest magnitude of the column.
const TOLERANCE: f64 = 1e-9;

/// One field of one file, and what is to give it.
struct Check {
    file: String,
    field: String,
    /// The first bar that is compared; before it, theirs may be defined where ours is not.
    from: usize,
    /// How many bars before it can be known the file has a value.
    ahead: usize,
    /// How many bars may differ.
    ties: usize,
    formula: String,
}

fn checks() -> Vec<Check> {
    let lines =
        include_str!("../reference/stock_indicators.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (left, formula) = line.split_once(" = ").expect("a formula");
            let mut words = left.split(' ');
            let mut next = || words.next().unwrap_or_default().to_owned();
            let (file, field, sign, bars) = (next(), next(), next(), next().parse().unwrap_or(0));
            let of = |mark: &str| if sign == mark { bars } else { 0 };
            Check { from: of("@"), ahead: of(">"), ties: of("~"), file, field, formula: formula.to_owned() }
        })
        .collect()
}

/// A field of a result file, by bar.
fn read(file: &str, field: &str) -> Option<Vec<Option<f64>>> {
    let text = text(&format!("ta_reference/stock_indicators/results/{file}.standard.json.gz"))?;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a list of results");
    Some(rows.iter().map(|row| row.get(field).and_then(serde_json::Value::as_f64)).collect())
}

/// What is wrong, if anything is.
fn compare(check: &Check, ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<String> {
    let scale = theirs.iter().flatten().fold(f64::MIN_POSITIVE, |most: f64, x| most.max(x.abs()));
    let mut ties = 0;
    for bar in check.from..ours.len() - check.ahead {
        let (ours, theirs) = (ours[bar + check.ahead], theirs[bar]);
        let right = match (ours, theirs) {
            (Some(x), Some(y)) => (x - y).abs() <= TOLERANCE * scale,
            (x, y) => x.is_none() && y.is_none(),
        };
        ties += usize::from(!right);
        if ties > check.ties {
            return Some(format!(
                "{} {} at bar {bar}: {ours:?}, expected {theirs:?}",
                check.file, check.field
            ));
        }
    }
    None
}

#[test]
fn another_library_computes_the_same() {
    let Some(bars) = quotes() else { return };
    let checks = checks();
    let formulas: Vec<String> = checks.iter().map(|check| check.formula.clone()).collect();
    let mut wrong = Vec::new();
    for (check, ours) in checks.iter().zip(of_formulas(&bars, &formulas)) {
        let Some(theirs) = read(&check.file, &check.field) else { return };
        assert!(theirs.iter().any(Option::is_some), "{} has no {}", check.file, check.field);
        wrong.extend(compare(check, &ours, &theirs));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
