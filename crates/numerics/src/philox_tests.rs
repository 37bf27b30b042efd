//! The generator against the known answers of Random123, and its normal draws against what they are made of.

use nautilus_hardware::{BackendId, Options, Switches, backends};

use super::*;
use crate::normal_quantile;

/// `kat_vectors` of Random123 1.14, philox4x32 with 10 rounds: counter, key, answer.
const KNOWN: [([u32; 4], u64, [u32; 4]); 3] = [
    ([0; 4], 0, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
    ([u32::MAX; 4], u64::MAX, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
    (
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
        0x299f_31d0_a409_3822,
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    ),
];

fn pinned(id: BackendId) -> Hardware {
    let options = Options { pin: Some(id), ..Options::default() };
    Hardware::new(backends::listings(), Switches::default(), options)
}

#[test]
fn known_answers() {
    for (counter, seed, answer) in KNOWN {
        assert_eq!(Philox::new(seed).block(counter), answer);
    }
}

#[test]
fn a_draw_is_a_function_of_its_place_on_every_unit() {
    let stream = Philox::new(7);
    let (width, rows) = (37, 5);
    let mut whole = vec![0.0; width * rows];
    stream.normals(&pinned(BackendId::Portable), 3, u64::from(u32::MAX) - 20, width, &mut whole);
    for id in [BackendId::Portable, BackendId::Avx2, BackendId::Avx512] {
        let hardware = pinned(id);
        for (from, part) in [(0, 1), (5, 7), (36, 1), (0, 37)] {
            let mut draws = vec![0.0; part * rows];
            stream.normals(&hardware, 3, u64::from(u32::MAX) - 20 + from as u64, part, &mut draws);
            for (row, draws) in draws.chunks(part).enumerate() {
                assert_eq!(draws, &whole[row * width + from..][..part], "{id} {from} {row}");
            }
        }
    }
    let column = u64::from(u32::MAX) - 20 + 25;
    let block = stream.block([column as u32, (column >> 32) as u32, 0, 3]);
    let probability = (f64::from(block[3]) + 0.5) / (1_u64 << 32) as f64;
    assert!((whole[3 * width + 25] - normal_quantile(probability)).abs() < 1e-14);
}

#[test]
fn draws_are_normal_and_apart() {
    let hardware = pinned(BackendId::Portable);
    let draws = |seed, domain| {
        let mut draws = vec![0.0; 200_000];
        Philox::new(seed).normals(&hardware, domain, 0, 50_000, &mut draws);
        draws
    };
    let one = draws(0, 0);
    let n = one.len() as f64;
    let moment = |power: i32| one.iter().map(|x| x.powi(power)).sum::<f64>() / n;
    // Moments of the standard normal distribution and their standard errors.
    for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let error = (moment(power) - expected).abs();
        assert!(error < 4.0 * (variance / n).sqrt(), "moment {power} is off by {error}");
    }
    for (other, what) in [(draws(1, 0), "seed"), (draws(0, 1), "domain")] {
        let correlation = one.iter().zip(&other).map(|(x, y)| x * y).sum::<f64>() / n;
        assert!(correlation.abs() < 4.0 / n.sqrt(), "{what}: {correlation}");
    }
    let correlation = one[..50_000].iter().zip(&one[50_000..]).map(|(x, y)| x * y).sum::<f64>() / 5e4;
    assert!(correlation.abs() < 4.0 / 5e4_f64.sqrt(), "rows: {correlation}");
}
