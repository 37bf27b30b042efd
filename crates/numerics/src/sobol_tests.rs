//! The sequence against scipy's, and the scrambling against what a scrambling must keep.

use nautilus_hardware::{BackendId, Options, Switches, backends};

use super::*;

/// Rows `point,dimension,value · 2³²`, written by `sobol_joe_kuo.py` with scipy, in the order of the Gray code.
const REFERENCE: &str = include_str!("sobol_reference.csv");

fn hardware(id: BackendId) -> Hardware {
    let options = Options { pin: Some(id), ..Options::default() };
    Hardware::new(backends::listings(), Switches::default(), options)
}

#[test]
fn unscrambled_points_are_those_of_scipy() {
    assert_eq!(directions().len(), SOBOL_DIMENSIONS_MAX);
    let mut rows = 0;
    for line in REFERENCE.lines().skip(1) {
        let numbers: Vec<u64> = line.split(',').map(|number| number.parse().expect(line)).collect();
        let place = numbers[0] ^ (numbers[0] >> 1);
        let mut digits = [0];
        block(&directions()[numbers[1] as usize], place, &mut digits);
        assert_eq!(u64::from(digits[0].reverse_bits()), numbers[2], "{line}");
        rows += 1;
    }
    assert!(rows > 200, "{rows}");
}

#[test]
fn first_points_are_the_published_ones() {
    // Bratley and Fox (1988): 0, 1/2, 3/4, 1/4 in one dimension; in the second 0, 1/2, 1/4, 3/4.
    let fractions = |dimension: usize| {
        [0, 1, 3, 2].map(|place| {
            let mut digits = [0];
            block(&directions()[dimension], place, &mut digits);
            f64::from(digits[0].reverse_bits()) / 4_294_967_296.0
        })
    };
    assert_eq!(fractions(0), [0.0, 0.5, 0.75, 0.25]);
    assert_eq!(fractions(1), [0.0, 0.5, 0.25, 0.75]);
}

#[test]
fn every_scrambled_dimension_has_one_point_in_each_interval() {
    let (width, sequence) = (1024, Sobol::scrambled(SOBOL_DIMENSIONS_MAX, 5, 3));
    let mut rows = vec![0.0; width * SOBOL_DIMENSIONS_MAX];
    sequence.offsets(&hardware(BackendId::Portable), 0, 1024, width, &mut rows);
    for (dimension, row) in rows.chunks(width).enumerate() {
        let mut seen = vec![false; width];
        for offset in row {
            let interval = ((offset + 0.5) * width as f64) as usize;
            assert!(!std::mem::replace(&mut seen[interval], true), "dimension {dimension}");
        }
    }
    // And the first two dimensions one in each elementary box: a (0, m, 2)-net.
    for columns in [2, 16, 256] {
        let mut seen = vec![false; width];
        for (x, y) in rows[..width].iter().zip(&rows[width..2 * width]) {
            let (x, y) = ((x + 0.5) * columns as f64, (y + 0.5) * (width / columns) as f64);
            let interval = x as usize * (width / columns) + y as usize;
            assert!(!std::mem::replace(&mut seen[interval], true), "{columns} columns");
        }
    }
}

#[test]
fn a_digit_is_flipped_by_those_before_it_alone() {
    for seed in [0, 1, 0x9E37_79B9, u32::MAX] {
        for (digits, place) in [(0_u32, 0), (0x1234_5678, 7), (u32::MAX, 31), (0x8000_0001, 16)] {
            let changed = scramble(digits, seed) ^ scramble(digits ^ (1 << place), seed);
            assert_eq!(changed.trailing_zeros(), place, "{seed} {digits}");
        }
    }
}

#[test]
fn points_do_not_depend_on_the_block_or_the_unit() {
    let sequence = Sobol::scrambled(30, 1, 0);
    let mut whole = vec![0.0; 30 * 256];
    sequence.normals(&hardware(BackendId::Portable), 0, 512, 256, &mut whole);
    for id in [BackendId::Portable, BackendId::Avx2, BackendId::Avx512] {
        for width in [1, 8, 64] {
            let mut part = vec![0.0; 10 * width];
            sequence.normals(&hardware(id), 20, 512 + 64, width, &mut part);
            for (row, part) in part.chunks(width).enumerate() {
                assert_eq!(part, &whole[(20 + row) * 256 + 64..][..width], "{id} {width}");
            }
        }
    }
}

#[test]
fn replicates_are_uniform_and_apart() {
    // The mean of a smooth function of 20 dimensions: 64 replicates agree with the truth and with the spread among them.
    let hardware = hardware(BackendId::Portable);
    let means: Vec<f64> = (0..64)
        .map(|replicate| {
            let mut rows = vec![0.0; 20 * 256];
            Sobol::scrambled(20, 9, replicate).offsets(&hardware, 0, 0, 256, &mut rows);
            let value = |point: usize| (0..20).map(|d| 1.0 + 0.5 * rows[d * 256 + point]).product::<f64>();
            (0..256).map(value).sum::<f64>() / 256.0
        })
        .collect();
    let mean = means.iter().sum::<f64>() / 64.0;
    let spread = (means.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 63.0).sqrt();
    assert!(((mean - 1.0) / (spread / 8.0)).abs() < 4.0, "{mean} {spread}");
    // Independent points would have √((1 + 1/48)²⁰ − 1)/16 = 0.045.
    assert!(spread > 1e-6 && spread < 0.02, "{spread}");
}
