//! Arithmetic of present values. What has no finite result is undefined; comparisons give 1 or 0.
//!
//! Nothing here has a past.

use crate::columns::UNDEFINED;
use crate::inputs::Clock;
use crate::kernel::Cell;
use crate::operations::{Operation, Ticks, cell};

/// A function of one value.
#[derive(Debug)]
struct Unary(fn(f64) -> f64);

impl Cell<1, 1> for Unary {
    #[inline]
    fn step(&self, _: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        [(self.0)(x)]
    }
}

macro_rules! binary {
    ($($cell:ident, |$x:ident, $y:ident| $result:expr;)*) => {$(
        #[derive(Debug)]
        struct $cell;

        impl Cell<2, 1> for $cell {
            #[inline]
            fn step(&self, _: &mut [f64], [$x, $y]: [f64; 2], _: [&[f64]; 2]) -> [f64; 1] {
                [$result]
            }
        }
    )*};
}

/// What TA-Lib takes for zero in a denominator.
const TALIB_ZERO: f64 = 1e-14;

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

binary! {
    Add, |x, y| x + y;
    Subtract, |x, y| x - y;
    Multiply, |x, y| x * y;
    Divide, |x, y| x / y;
    RatioOrZero, |x, y| if y.abs() < TALIB_ZERO { 0.0 } else { x / y };
    Smaller, |x, y| x.min(y);
    Larger, |x, y| x.max(y);
    Less, |x, y| truth(x < y);
    LessOrEqual, |x, y| truth(x <= y);
    Greater, |x, y| truth(x > y);
    GreaterOrEqual, |x, y| truth(x >= y);
    Equal, |x, y| truth(x == y);
    Differs, |x, y| truth(x != y);
    And, |x, y| truth(x != 0.0 && y != 0.0);
    Or, |x, y| truth(x != 0.0 || y != 0.0);
    Power, |x, y| if y == 2.0 { x * x } else { libm::pow(x, y) };
    Where, |x, y| if y == 0.0 { UNDEFINED } else { x };
}

/// One of two values.
#[derive(Debug)]
struct Choose;

impl Cell<3, 1> for Choose {
    const TAKES_UNDEFINED: bool = true;

    #[inline]
    fn step(&self, _: &mut [f64], [condition, yes, no]: [f64; 3], _: [&[f64]; 3]) -> [f64; 1] {
        [if condition.is_nan() {
            UNDEFINED
        } else if condition != 0.0 {
            yes
        } else {
            no
        }]
    }
}

/// A stand-in for what is undefined.
#[derive(Debug)]
struct OrElse;

impl Cell<2, 1> for OrElse {
    const TAKES_UNDEFINED: bool = true;

    #[inline]
    fn step(&self, _: &mut [f64], [x, instead]: [f64; 2], _: [&[f64]; 2]) -> [f64; 1] {
        [if x.is_nan() { instead } else { x }]
    }
}

/// A value as another clock finds it.
#[derive(Debug)]
struct Sample;

impl Cell<1, 1> for Sample {
    #[inline]
    fn step(&self, _: &mut [f64], [x]: [f64; 1], _: [&[f64]; 1]) -> [f64; 1] {
        [x]
    }
}

fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

const NONE: &[&str] = &[];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::new("neg", 1, NONE, "−x", |_| cell(Unary(|x| -x))),
    Operation::new("not", 1, NONE, "1 where x is 0, otherwise 0", |_| cell(Unary(|x| truth(x == 0.0)))),
    Operation::new("abs", 1, NONE, "the magnitude of x", |_| cell(Unary(f64::abs))),
    Operation::new("sign", 1, NONE, "−1, 0 or 1", |_| cell(Unary(sign))),
    Operation::new("sqrt", 1, NONE, "the square root; undefined below zero", |_| cell(Unary(libm::sqrt))),
    Operation::new("log", 1, NONE, "the natural logarithm; undefined at and below zero", |_| {
        cell(Unary(libm::log))
    }),
    Operation::new("exp", 1, NONE, "e to the power of x", |_| cell(Unary(libm::exp))),
    Operation::new("atan", 1, NONE, "the arctangent, in radians", |_| cell(Unary(libm::atan))),
    Operation::new("tanh", 1, NONE, "the hyperbolic tangent", |_| cell(Unary(libm::tanh))),
    Operation::new("+", 2, NONE, "x + y", |_| cell(Add)).commuting(),
    Operation::new("-", 2, NONE, "x − y", |_| cell(Subtract)),
    Operation::new("*", 2, NONE, "x · y", |_| cell(Multiply)).commuting(),
    Operation::new("/", 2, NONE, "x ÷ y; undefined where y is 0", |_| cell(Divide)),
    Operation::new(
        "ratio_or_zero",
        2,
        NONE,
        "x ÷ y, and 0 where y is within 1e-14 of 0, as TA-Lib has it",
        |_| cell(RatioOrZero),
    ),
    Operation::new("smaller", 2, NONE, "the smaller of two", |_| cell(Smaller)).commuting(),
    Operation::new("larger", 2, NONE, "the larger of two", |_| cell(Larger)).commuting(),
    Operation::new("pow", 2, NONE, "x to the power of y", |_| cell(Power)),
    Operation::new("<", 2, NONE, "1 where x < y, otherwise 0", |_| cell(Less)),
    Operation::new("<=", 2, NONE, "1 where x ≤ y, otherwise 0", |_| cell(LessOrEqual)),
    Operation::new(">", 2, NONE, "1 where x > y, otherwise 0", |_| cell(Greater)),
    Operation::new(">=", 2, NONE, "1 where x ≥ y, otherwise 0", |_| cell(GreaterOrEqual)),
    Operation::new("==", 2, NONE, "1 where x = y, otherwise 0", |_| cell(Equal)).commuting(),
    Operation::new("!=", 2, NONE, "1 where x ≠ y, otherwise 0", |_| cell(Differs)).commuting(),
    Operation::new("&&", 2, NONE, "1 where neither is 0, otherwise 0", |_| cell(And)).commuting(),
    Operation::new("||", 2, NONE, "1 where one of them is not 0, otherwise 0", |_| cell(Or)).commuting(),
    Operation::new("if", 3, NONE, "y where x is not 0, otherwise z", |_| cell(Choose)),
    Operation::new("where", 2, NONE, "x where y is not 0, otherwise undefined", |_| cell(Where)),
    Operation::new("or_else", 2, NONE, "x, and y where x is undefined", |_| cell(OrElse)),
    Operation::new("at_close", 1, NONE, "x as it is when a bar closes", |_| cell(Sample))
        .ticking(Ticks::By(Clock::BAR)),
    Operation::new("on_trade", 1, NONE, "x as it is at a trade, before the quote that follows", |_| {
        cell(Sample)
    })
    .ticking(Ticks::By(Clock::TRADE)),
    Operation::new("on_quote", 1, NONE, "x as it is when the best bid or ask changes", |_| cell(Sample))
        .ticking(Ticks::By(Clock::QUOTE)),
];
