//! TA-Lib's Rust port, called by what is written: `STOCH(14,3,0,3,0)[1]`, `BETA(5)(high,low)[0]`.
//!
//! Prices are the bar's; a plain input is the close, or those named in the second parentheses.

use ta_lib::Core;
use ta_lib::abstract_api::{InputType, OptInputType, OutputType, get_func_handle};

use crate::data::Bars;

/// What a call is made of.
struct Call<'a> {
    name: &'a str,
    parameters: Vec<&'a str>,
    inputs: Vec<&'a str>,
    output: usize,
}

fn parse<'a>(text: &'a str) -> Call<'a> {
    let (call, output) = match text.split_once('[') {
        Some((call, output)) => (call, output.trim_end_matches(']').parse().expect("an output's number")),
        None => (text, 0),
    };
    let mut parts = call.split('(').map(|part| part.trim_end_matches(')'));
    let name = parts.next().expect("a name");
    let list = |part: Option<&'a str>| -> Vec<&'a str> {
        part.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
    };
    let (parameters, inputs) = (list(parts.next()), list(parts.next()));
    Call { name, parameters, inputs, output }
}

fn series<'a>(bars: &'a Bars, name: &str) -> &'a [f64] {
    match name {
        "open" => &bars.open,
        "high" => &bars.high,
        "low" => &bars.low,
        "close" => &bars.close,
        "volume" => &bars.volume,
        _ => panic!("no series {name}"),
    }
}

/// TA-Lib's values at every bar.
pub(crate) fn call(bars: &Bars, text: &str) -> Vec<Option<f64>> {
    let Call { name, parameters, inputs, output } = parse(text);
    let core = Core::new();
    let function = get_func_handle(name).unwrap_or_else(|| panic!("TA-Lib has no {name}"));
    let info = function.info();
    let mut call = function.new_call(&core);
    for (slot, input) in info.inputs.iter().enumerate() {
        if input.kind == InputType::Price {
            let (open, high, low, close) = (&*bars.open, &*bars.high, &*bars.low, &*bars.close);
            call.set_price_input(
                slot,
                Some(open),
                Some(high),
                Some(low),
                Some(close),
                Some(&bars.volume),
                None,
            )
        } else {
            // On-balance volume takes its volume as a plain input.
            let default = if slot == 1 { "volume" } else { "close" };
            call.set_input(slot, series(bars, inputs.get(slot).unwrap_or(&default)))
        }
        .expect("the input is one of the function's");
    }
    for (index, parameter) in parameters.iter().enumerate() {
        match info.opt_inputs[index].kind {
            OptInputType::RealRange { .. } | OptInputType::RealList { .. } => {
                call.set_opt_input(index, parameter.parse::<f64>().expect("a number"))
            }
            _ => call.set_opt_input(index, parameter.parse::<i32>().expect("a whole number")),
        }
        .expect("the parameter is one of the function's");
    }
    let n = bars.len();
    let mut reals = vec![vec![0.0; n]; info.outputs.len()];
    let mut integers = vec![vec![0i32; n]; info.outputs.len()];
    for (index, (real, integer)) in reals.iter_mut().zip(&mut integers).enumerate() {
        match info.outputs[index].kind {
            OutputType::Real => call.set_output(index, real),
            OutputType::Integer => call.set_int_output(index, integer),
        }
        .expect("the output is one of the function's");
    }
    let range = call.call(0, n - 1).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let mut values = vec![None; n];
    for at in 0..range.count {
        values[range.beg_idx + at] = Some(match info.outputs[output].kind {
            OutputType::Real => reals[output][at],
            OutputType::Integer => f64::from(integers[output][at]),
        });
    }
    values
}
