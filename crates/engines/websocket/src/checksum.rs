//! The CRC-32 by which a client proves that its book is the right one: ten best asks, then ten best bids, best first,
//! each as `price:quantity|`.
//!
//! Numbers are written as their `Display` writes them, without taking memory.

use nautilus_book::{BookLevel, Depth};
use nautilus_types::{SCALE, Side};

/// Levels of each side that count.
const LEVELS: usize = 10;
/// The longest number, `-9223372036.854775808`.
const NUMBER_MAX: usize = 21;
const DECIMALS: usize = 9;

pub(crate) fn checksum(book: &Depth) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for side in [Side::Sell, Side::Buy] {
        book.each_level(side, LEVELS, |level| add(&mut crc, &level));
    }
    crc.finalize()
}

fn add(crc: &mut crc32fast::Hasher, level: &BookLevel) {
    let mut text = Text::new();
    text.number(level.price.nanos());
    text.byte(b':');
    text.number(level.quantity.nanos());
    text.byte(b'|');
    crc.update(text.bytes());
}

/// One level's text.
struct Text {
    bytes: [u8; 2 * NUMBER_MAX + 2],
    length: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; 2 * NUMBER_MAX + 2], length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    /// Billionths as a decimal without superfluous zeros.
    fn number(&mut self, nanos: i64) {
        if nanos < 0 {
            self.byte(b'-');
        }
        let (whole, mut fraction) =
            (nanos.unsigned_abs() / SCALE.unsigned_abs(), nanos.unsigned_abs() % SCALE.unsigned_abs());
        self.digits(whole, 1);
        if fraction == 0 {
            return;
        }
        let mut decimals = DECIMALS;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            decimals -= 1;
        }
        self.byte(b'.');
        self.digits(fraction, decimals);
    }

    /// A number with at least `least` digits.
    fn digits(&mut self, mut number: u64, least: usize) {
        let mut reversed = [b'0'; NUMBER_MAX];
        let mut count = 0;
        while number > 0 {
            reversed[count] = b'0' + u8::try_from(number % 10).expect("one digit");
            number /= 10;
            count += 1;
        }
        reversed[..count.max(least)].iter().rev().for_each(|digit| self.byte(*digit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nautilus_book::{BookLimits, LevelBook};
    use nautilus_messages::frame::{Header, Kind, LevelChange, WireSide};
    use nautilus_types::{InstrumentId, Price, Quantity, UnixNanos};
    use proptest::prelude::*;

    fn book(levels: &[(Side, i64, i64)]) -> Depth {
        let mut book = LevelBook::new(Price::ZERO, BookLimits::default());
        for &(side, price, quantity) in levels {
            let change = LevelChange {
                header: Header::new(Kind::LevelChange, InstrumentId(1), 0, UnixNanos(0), UnixNanos(0)),
                price_nanos: price.into(),
                quantity_nanos: quantity.into(),
                orders: 1.into(),
                side: WireSide::from(Some(side)),
                reserved: [0; 11],
            };
            book.apply(&change).expect("a legal level");
        }
        Depth::Levels(Box::new(book))
    }

    /// The text as the documentation describes it, and the CRC bit by bit.
    fn slow(book: &Depth) -> u32 {
        let mut text = String::new();
        for side in [Side::Sell, Side::Buy] {
            book.each_level(side, 10, |level| text += &format!("{}:{}|", level.price, level.quantity));
        }
        let mut crc = u32::MAX;
        for byte in text.bytes() {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            }
        }
        !crc
    }

    #[test]
    fn the_value_is_that_of_zlib() {
        let unit = SCALE;
        let book = book(&[
            (Side::Sell, 4_810 * unit + unit / 4, 28 * unit),
            (Side::Sell, 4_810 * unit + unit / 2, unit / 1_000),
            (Side::Buy, 4_810 * unit, 22 * unit),
            (Side::Buy, -1, 3 * unit),
        ]);
        // python3 -c "import zlib; print(zlib.crc32(b'4810.25:28|4810.5:0.001|4810:22|-0.000000001:3|'))"
        assert_eq!(checksum(&book), 4_122_983_027);
        assert_eq!(checksum(&super::tests::book(&[])), 0);
    }

    proptest! {
        #[test]
        fn it_is_what_the_documentation_says(
            levels in prop::collection::vec((any::<bool>(), -(1i64 << 61)..1 << 61, 1..i64::MAX), 0..30),
        ) {
            let side = |buys| if buys { Side::Buy } else { Side::Sell };
            let levels: Vec<_> = levels.into_iter().map(|(buys, price, held)| (side(buys), price, held)).collect();
            let book = book(&levels);
            prop_assert_eq!(checksum(&book), slow(&book));
        }

        #[test]
        fn numbers_are_written_as_displayed(nanos: i64, scale in 0u32..19) {
            for nanos in [nanos, nanos / 10i64.pow(scale) * 10i64.pow(scale), i64::MIN, i64::MAX] {
                let mut text = Text::new();
                text.number(nanos);
                let written = std::str::from_utf8(text.bytes()).expect("ASCII");
                prop_assert_eq!(written, Quantity::from_nanos(nanos).to_string());
            }
        }
    }
}
