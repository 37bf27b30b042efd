//! Random batches of frames, legal ones and every way of being illegal, from a seed.

use nautilus_hardware::frames::{FRAME_LEN, Lane, Plan};
use nautilus_types::InstrumentId;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// How a batch is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    pub(crate) frames: usize,
    /// Instruments 1 to this; the plan names those of them that are not divisible by five.
    pub(crate) instruments: u32,
    /// The largest of the 64-bit fields that are not extreme.
    pub(crate) largest: u64,
    /// Of 64-bit fields, one in so many is an extreme value. 0 for none.
    pub(crate) extremes: u64,
    /// One frame in so many has a random byte. 0 for none.
    pub(crate) corrupt: u64,
}

impl Recipe {
    pub(crate) fn plan(&self, bucket_volume: u64, buckets_max: usize) -> Plan {
        let lane =
            |id: u32| Lane { instrument: InstrumentId(id), bucket_volume: bucket_volume + u64::from(id % 3) };
        let lanes = (1..=self.instruments).filter(|id| id % 5 != 0).map(lane).collect();
        Plan::new(lanes, buckets_max).expect("a legal plan")
    }

    pub(crate) fn batch(&self) -> Vec<u8> {
        let mut random = Random(self.seed);
        (0..self.frames).flat_map(|_| self.frame(&mut random)).collect()
    }

    fn frame(&self, random: &mut Random) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        // Trades and quotes more often than the others; longer kinds and unknown ones now and then.
        frame[0] = [1, 1, 1, 2, 2, 3, 4, 5, 6, 7][random.below(10) as usize];
        frame[1] = 1;
        frame[2] = (random.below(128)) as u8;
        frame[4..8].copy_from_slice(&(1 + random.below(self.instruments.into()) as u32).to_le_bytes());
        for at in (32..64).step_by(8) {
            let value = self.field(random);
            frame[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        // Where the enumerations stand, so that most frames are legal.
        let kind = frame[0];
        let mut put = |at: usize, first: u64, count: u64| frame[at] = (first + random.below(count)) as u8;
        match kind {
            1 => put(56, 0, 3),
            3 => {
                put(56, 1, 5);
                put(57, 0, 3);
            }
            4 => put(52, 0, 3),
            5 => put(36, 1, 2),
            6 => {
                put(32, 0, 5);
                put(33, 0, 3);
            }
            7 => put(48, 1, 2),
            _ => {}
        }
        if self.corrupt > 0 && random.one_in(self.corrupt) {
            // The bytes that decide are hit more often.
            let decisive = [0, 1, 3, 32, 33, 36, 39, 47, 48, 52, 55, 56, 57, 63];
            let at = if random.one_in(4) { random.below(64) } else { decisive[random.below(14) as usize] };
            frame[at as usize] = if random.one_in(2) { random.below(12) as u8 } else { random.next() as u8 };
        }
        frame
    }

    fn field(&self, random: &mut Random) -> i64 {
        const EXTREMES: [i64; 8] =
            [0, 1, -1, i64::MAX, i64::MAX - 1, i64::MIN, u32::MAX as i64, u32::MAX as i64 + 1];
        if self.extremes > 0 && random.one_in(self.extremes) {
            return EXTREMES[random.below(8) as usize];
        }
        1 + random.below(self.largest) as i64
    }
}
