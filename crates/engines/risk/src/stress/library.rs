//! Days of the past that everybody knows, by closing levels that anybody can look up.

use super::request::Shock;

/// A day: the S&P 500 at the close before and at its own, and the VIX where there was one.
pub(super) struct Day {
    pub(super) name: &'static str,
    /// The sources of the numbers.
    pub(super) source: &'static str,
    index: (f64, f64),
    volatility: Option<(f64, f64)>,
}

/// Closing levels of the S&P 500 (S&P Dow Jones Indices) and of the VIX (Cboe VIX historical data).
pub(super) const DAYS: [Day; 8] = [
    Day {
        name: "black_monday_1987",
        // "falling 57.86 to 224.84": CNNfn, The blackest of Mondays, 1997-10-13.
        source: "1987-10-19: S&P 500 282.70 to 224.84 (S&P Dow Jones Indices)",
        index: (282.70, 224.84),
        volatility: None,
    },
    Day {
        name: "reopening_2001",
        source: "2001-09-17: S&P 500 1092.54 to 1038.77 (S&P Dow Jones Indices)",
        index: (1092.54, 1038.77),
        volatility: None,
    },
    Day {
        name: "lehman_2008",
        source: "2008-09-15: S&P 500 1251.70 to 1192.70 (S&P Dow Jones Indices)",
        index: (1251.70, 1192.70),
        volatility: None,
    },
    Day {
        name: "october_2008",
        source: "2008-10-15: S&P 500 998.01 to 907.84 (S&P Dow Jones Indices)",
        index: (998.01, 907.84),
        volatility: None,
    },
    Day {
        name: "downgrade_2011",
        source: "2011-08-08: S&P 500 1199.38 to 1119.46 (S&P Dow Jones Indices)",
        index: (1199.38, 1119.46),
        volatility: None,
    },
    Day {
        name: "august_2015",
        source: "2015-08-24: S&P 500 1970.89 to 1893.21 (S&P Dow Jones Indices), VIX 28.03 to 40.74 (Cboe)",
        index: (1970.89, 1893.21),
        volatility: Some((28.03, 40.74)),
    },
    Day {
        name: "volatility_2018",
        source: "2018-02-05: S&P 500 2762.13 to 2648.94 (S&P Dow Jones Indices), VIX 17.31 to 37.32 (Cboe)",
        index: (2762.13, 2648.94),
        volatility: Some((17.31, 37.32)),
    },
    Day {
        name: "pandemic_2020",
        // VIX: "finished trade at 82.69", Sydney Morning Herald, 2020-03-17; up 43 %.
        source: "2020-03-16: S&P 500 2711.02 to 2386.13 (S&P Dow Jones Indices), VIX 57.83 to 82.69 (Cboe)",
        index: (2711.02, 2386.13),
        volatility: Some((57.83, 82.69)),
    },
];

impl Day {
    /// What happens to everything: prices as the index, volatilities as the VIX.
    pub(super) fn shock(&self) -> Shock {
        let relative = |(before, after): (f64, f64)| after / before - 1.0;
        Shock {
            price: Some(relative(self.index)),
            volatility: self.volatility.map(relative),
            ..Shock::default()
        }
    }
}
