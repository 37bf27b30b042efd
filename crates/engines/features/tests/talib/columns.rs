//! What TA-Lib 0.8.1 (the C library) computed: sixty columns of two real series, and digests of made-up bars.

use std::collections::BTreeMap;

use nautilus_engine_features::{Family, Registry};

use crate::data::{
    Bars, calls, difference, digest, index, made_up, of_formulas, quotes, registry, table, text, values,
};
use crate::peer;

/// Functions of angles: their arctangent, sine and cosine come from another library than C's, so the last digits may
/// differ, and with them what is computed from them.
const ANGLES: [&str; 5] = ["LINEARREG_ANGLE", "HT_", "MAMA", "HT_DCPERIOD", "HT_PHASOR"];

/// Functions that TA-Lib 0.8.3 computes in another order than 0.8.1, or seeds with other sums; 0.8.1 is the definition.
const OTHER_VERSION: [&str; 25] = [
    "EMA(",
    "DEMA(",
    "TEMA(",
    "MACD(",
    "APO(",
    "PPO(",
    "ADOSC(",
    "CMO(",
    "DX(",
    "ADX(",
    "ADXR(",
    "PLUS_DI(",
    "MINUS_DI(",
    "PLUS_DM(",
    "MINUS_DM(",
    "TRIX(",
    "VAR(",
    "STDDEV(",
    "CORREL(",
    "BETA(",
    "RSI(",
    "STOCHRSI(",
    "BBANDS(",
    "LINEARREG(",
    "TSF(",
];

fn is_any(call: &str, names: &[&str]) -> bool {
    names.iter().any(|name| call.starts_with(name))
}

/// The largest distance of two series by the largest magnitude, and whether they are defined at the same bars.
fn distance(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<f64> {
    let mut farthest: f64 = 0.0;
    let scale = theirs.iter().flatten().fold(f64::MIN_POSITIVE, |most: f64, x| most.max(x.abs()));
    for (x, y) in ours.iter().zip(theirs) {
        match (x, y) {
            (Some(x), Some(y)) => farthest = farthest.max((x - y).abs() / scale),
            (None, None) => {}
            _ => return None,
        }
    }
    Some(farthest)
}

/// The bars of the digests.
const BARS: usize = 12_000;

#[test]
fn formulas_give_the_bits_of_the_c_library() {
    let bars = made_up(BARS);
    let digests: BTreeMap<&str, &str> = include_str!("../reference/talib_digests.csv")
        .lines()
        .filter_map(|line| line.split_once(';'))
        .collect();
    let (calls, formulas): (Vec<String>, Vec<String>) = calls().into_iter().unzip();
    let mut wrong = Vec::new();
    for ((call, formula), ours) in calls.iter().zip(&formulas).zip(of_formulas(&bars, &formulas)) {
        let (first, expected) = digests[call.as_str()].split_once(';').expect("first bar and digest");
        let begins = ours.iter().position(Option::is_some).map(|bar| bar.to_string()).unwrap_or_default();
        if begins != first {
            wrong.push(format!("{call} begins at bar {first}, {formula} at {begins}"));
        } else if !is_any(call, &ANGLES) && format!("{:016x}", digest(&ours)) != expected {
            let theirs = peer::call(&bars, call);
            wrong.push(format!("{call} is not {formula}; beside 0.8.3: {:?}", difference(&ours, &theirs)));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn formulas_give_the_bits_of_the_rust_port() {
    let bars = made_up(BARS);
    let (calls, formulas): (Vec<String>, Vec<String>) = calls().into_iter().unzip();
    let mut wrong = Vec::new();
    for ((call, formula), ours) in calls.iter().zip(&formulas).zip(of_formulas(&bars, &formulas)) {
        let mut theirs = peer::call(&bars, call);
        if is_any(call, &["RSI(", "STOCHRSI("]) {
            // Where nothing moved yet, 0.8.3 says 50 and 0.8.1 says 0; the bars begin with twelve that stand still.
            theirs.iter_mut().zip(&ours).take(30).for_each(|(theirs, ours)| *theirs = *ours);
        }
        let found = if is_any(call, &ANGLES) || is_any(call, &OTHER_VERSION) {
            let far = distance(&ours, &theirs).unwrap_or(f64::INFINITY);
            (far > 1e-9).then(|| format!("{far:e} apart, {:?}", difference(&ours, &theirs)))
        } else {
            difference(&ours, &theirs)
        };
        wrong.extend(found.map(|found| format!("{call} is not {formula}: {found}")));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The engine's formula of a column of the reference files.
fn formula_of(column: &str) -> String {
    let call = match column {
        "CORREL(h,l,30)" => "CORREL(30)(high,low)".to_owned(),
        "BETA(h,l,5)" => "BETA(5)(high,low)".to_owned(),
        column if column.contains('(') => column.replace(",SMA", ",0").replace(",EMA", ",1"),
        column => format!("{column}()"),
    };
    let calls: BTreeMap<String, String> = calls().into_iter().collect();
    let by_call = |call: &str| calls.get(call).or_else(|| calls.get(&format!("{call}[0]"))).cloned();
    match (call.as_str(), by_call(&call)) {
        (_, Some(formula)) => formula,
        ("BBANDS(20,2,2,0)[1]", None) => "sma_20".to_owned(),
        (call, None) => panic!("no formula for {call}"),
    }
}

#[test]
fn sixty_columns_of_two_series_agree_bit_by_bit() {
    let read = |name: &str| text(&format!("ta_reference/talib/{name}.talib.csv.gz"));
    let files = [(quotes(), read("spy_2017_2018_default")), (index(), read("sp500_arch"))];
    for (bars, file) in files {
        let (Some(bars), Some(file)) = (bars, file) else { return };
        let columns: Vec<_> = table(&file)
            .into_iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("date") && !name.starts_with("CDL"))
            .collect();
        assert_eq!(columns.len(), 55);
        let formulas: Vec<String> = columns.iter().map(|(name, _)| formula_of(name)).collect();
        for ((name, cells), ours) in columns.iter().zip(of_formulas(&bars, &formulas)) {
            let mut theirs: Vec<Option<f64>> = cells.iter().map(|cell| cell.parse().ok()).collect();
            if name.starts_with("CDL") {
                // TA-Lib's wrapper fills what is not defined yet with zeros; here it is undefined.
                for (theirs, ours) in theirs.iter_mut().zip(&ours).take_while(|(_, ours)| ours.is_none()) {
                    assert_eq!((*theirs, *ours), (Some(0.0), None), "{name}");
                    *theirs = None;
                }
            }
            assert_eq!(difference(&ours, &theirs), None, "{name}");
        }
    }
}

/// Values of every definition of the families that are checked here.
fn technical(registry: &Registry, bars: &Bars) -> Vec<(String, usize, Vec<Option<f64>>)> {
    let wanted = |family| family == Family::Technical || family == Family::Candlestick;
    let definitions: Vec<_> = registry.definitions().iter().filter(|d| wanted(d.family)).collect();
    let ids: Vec<String> = definitions.iter().map(|d| d.id.clone()).collect();
    let series = values(registry, bars, &ids);
    definitions.iter().zip(series).map(|(d, series)| (d.id.clone(), d.warm_up, series)).collect()
}

#[test]
fn warm_ups_end_where_they_say() {
    // Past the still bars that the series begins with.
    let mut bars = made_up(1_000);
    for column in [&mut bars.open, &mut bars.high, &mut bars.low, &mut bars.close, &mut bars.volume] {
        column.drain(..12);
    }
    let mut wrong = Vec::new();
    for (id, warm_up, series) in technical(&registry(&[]), &bars) {
        let first = series.iter().position(Option::is_some);
        if first != Some(warm_up) || !series[warm_up..].iter().all(Option::is_some) {
            wrong.push(format!("{id} begins at bar {first:?}, not at {warm_up}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
