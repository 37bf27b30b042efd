//! What functions do where their input is undefined for a while: windows begin afresh, recursions keep their state.

use crate::data::{Bars, difference, made_up, of_formulas};

/// Functions of a window, whose sums are of the values since the hole.
const WINDOWED: [&str; 17] = [
    "sma(C, 20)",
    "wma(C, 20)",
    "trima(C, 20)",
    "trima(C, 21)",
    "kama(C, 10)",
    "var(C, 20)",
    "correl(H, L, 10)",
    "beta(H, L, 5)",
    "linearreg(C, 14)",
    "cci_of(C, 20)",
    "mfi_of(C, volume, 14)",
    "ultosc_of(H - C, H - L, 7, 14, 28)",
    "avgdev(C, 14)",
    "mean_before(C, 10, 3)",
    "ht_trendline(C)",
    "mama(C, 0.5, 0.05)",
    "max_age(C, 10)",
];

/// Functions that remember everything.
const RECURSIVE: [&str; 12] = [
    "ema(C, 20)",
    "late_ema(C, 12, 14)",
    "first_ema(C, 10)",
    "rma(C, 14)",
    "t3(C, 5, 0.7)",
    "rsi(C, 14)",
    "cmo(C, 14)",
    "plus_di_of(H, L, C, 14)",
    "adx_of(H, L, C, 14)",
    "sar_of(H, L, 0.02, 0.2)",
    "obv_of(C, volume)",
    "after(C, 30)",
];

/// The formula with inputs that are undefined where nothing was traded.
fn with_holes(formula: &str) -> String {
    let input = |formula: String, letter: char, name: &str| {
        formula.replace(letter, &format!("({name} / (volume > 0))"))
    };
    input(input(input(formula.to_owned(), 'H', "high"), 'L', "low"), 'C', "close")
}

/// The bars for which `keep` holds.
fn some(bars: &Bars, keep: impl Fn(usize) -> bool) -> Bars {
    let of = |column: &[f64]| {
        column.iter().enumerate().filter(|(bar, _)| keep(*bar)).map(|(_, value)| *value).collect()
    };
    Bars {
        open: of(&bars.open),
        high: of(&bars.high),
        low: of(&bars.low),
        close: of(&bars.close),
        volume: of(&bars.volume),
    }
}

#[test]
fn windows_begin_afresh_after_a_hole() {
    let bars = made_up(600);
    let formulas: Vec<String> = WINDOWED.map(with_holes).to_vec();
    // Nothing is traded in the first nine of each 307 bars.
    let after = some(&bars, |bar| (316..600).contains(&bar));
    for ((formula, whole), alone) in
        WINDOWED.iter().zip(of_formulas(&bars, &formulas)).zip(of_formulas(&after, &formulas))
    {
        assert!(whole[307..316].iter().all(Option::is_none), "{formula}");
        assert!(alone[283].is_some(), "{formula}");
        assert_eq!(difference(&whole[316..], &alone), None, "{formula}");
    }
}

#[test]
fn recursions_keep_their_state_over_a_hole() {
    let bars = made_up(600);
    let formulas: Vec<String> = RECURSIVE.map(with_holes).to_vec();
    let traded = |bar: usize| bars.volume[bar] > 0.0;
    let closed_up = some(&bars, traded);
    for ((formula, whole), closed_up) in
        RECURSIVE.iter().zip(of_formulas(&bars, &formulas)).zip(of_formulas(&closed_up, &formulas))
    {
        let kept: Vec<Option<f64>> = (0..600).filter(|bar| traded(*bar)).map(|bar| whole[bar]).collect();
        assert!(kept.last().is_some_and(Option::is_some), "{formula}");
        assert_eq!(difference(&kept, &closed_up), None, "{formula}");
    }
}
