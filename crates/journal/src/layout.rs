//! Where everything stands in a segment's file, byte by byte. Integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | header: checksum of what follows, magic, format, 0 (4), first position, checksum of the record before it, salt, the file's length, hash of the owner's name |
//! | 4,096 and 36,864 | two mirrors: checksum, sequence, position known to be on the disk, offset and length (4) of the part of the file that is mirrored, 0 (28), its bytes |
//! | 69,632 | records, end to end, each padded with zeros to eight bytes: checksum, checksum of the record before, position, instant, length of the payload (4), records since the last one known to be on the disk (4), payload |
//!
//! Checksums are XXH3-64 of everything behind them, seeded with the header's own; the header's is not seeded. What is
//! done with a segment is decided elsewhere.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The longest payload, in bytes.
pub const PAYLOAD_MAX: usize = 1 << 20;

pub(crate) const MAGIC: [u8; 8] = *b"NAUTILJR";
/// Changes with anything above.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const HEADER_LEN: usize = 64;
pub(crate) const MIRRORS_AT: [usize; 2] = [4_096, 36_864];
const MIRROR_LEN: usize = 32_768;
const MIRROR_HEAD: usize = 64;
/// What a mirror holds at most.
pub(crate) const MIRRORED_MAX: usize = MIRROR_LEN - MIRROR_HEAD;
/// How many bytes before a write share a sector with it, and may be lost with it, at most.
pub(crate) const SHARED: usize = 4_096;
pub(crate) const RECORDS_AT: usize = 69_632;
const RECORD_HEAD: usize = 40;

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// What begins a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) first: u64,
    /// The checksum of the record before the first one, or zero.
    pub(crate) previous: u64,
    pub(crate) salt: u64,
    pub(crate) length: u64,
    pub(crate) owner: u64,
}

impl Header {
    /// The bytes.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[8..16].copy_from_slice(&MAGIC);
        bytes[16..20].copy_from_slice(&FORMAT.to_le_bytes());
        for (at, value) in
            [(24, self.first), (32, self.previous), (40, self.salt), (48, self.length), (56, self.owner)]
        {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let checksum = xxh3_64(&bytes[8..]);
        bytes[..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The seed of all checksums of the segment.
    pub(crate) fn seed(&self) -> u64 {
        word(&self.encode(), 0)
    }

    /// The header and its checksum.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u64), &'static str> {
        let bytes = bytes.get(..HEADER_LEN).ok_or("it is too short for a header")?;
        if bytes[8..16] != MAGIC {
            return Err("it does not begin like a segment");
        }
        if half(bytes, 16) != FORMAT {
            return Err("its format is not the one that this build reads");
        }
        let seed = xxh3_64(&bytes[8..]);
        if word(bytes, 0) != seed {
            return Err("the checksum of its header does not fit");
        }
        let [first, previous, salt, length, owner] = [24, 32, 40, 48, 56].map(|at| word(bytes, at));
        Ok((Self { first, previous, salt, length, owner }, seed))
    }
}

/// The hash of an owner's name.
pub(crate) fn owner(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// A record that is whole in itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) checksum: u64,
    pub(crate) previous: u64,
    pub(crate) position: u64,
    pub(crate) at: u64,
    /// The last record that was known to be on the disk when this one was written.
    pub(crate) durable: u64,
    pub(crate) payload: &'a [u8],
    /// Where the next one begins.
    pub(crate) end: usize,
}

/// What a payload of so many bytes takes.
pub(crate) const fn record_len(payload: usize) -> usize {
    (RECORD_HEAD + payload).next_multiple_of(8)
}

/// Appends a record behind the one with the checksum `previous`, and returns its own.
pub(crate) fn put_record(
    buffer: &mut Vec<u8>,
    seed: u64,
    previous: u64,
    (position, at, unsynced): (u64, u64, u32),
    payload: &[u8],
) -> u64 {
    let start = buffer.len();
    let length = u32::try_from(payload.len()).expect("a payload is bounded");
    buffer.extend_from_slice(&[0; 8]);
    for value in [previous, position, at] {
        buffer.extend_from_slice(&value.to_le_bytes());
    }
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&unsynced.to_le_bytes());
    buffer.extend_from_slice(payload);
    buffer.resize(start + record_len(payload.len()), 0);
    let checksum = xxh3_64_with_seed(&buffer[start + 8..], seed);
    buffer[start..start + 8].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// The record at `at`, if one is there that is whole.
pub(crate) fn record(bytes: &[u8], seed: u64, at: usize) -> Option<Record<'_>> {
    let rest = bytes.get(at..).filter(|rest| rest.len() >= RECORD_HEAD)?;
    let (position, payload) = (word(rest, 16), half(rest, 32) as usize);
    if position == 0 || payload > PAYLOAD_MAX {
        return None;
    }
    let whole = rest.get(..record_len(payload))?;
    let checksum = word(whole, 0);
    let durable = (position - 1).checked_sub(u64::from(half(whole, 36)))?;
    (checksum == xxh3_64_with_seed(&whole[8..], seed)).then(|| Record {
        checksum,
        previous: word(whole, 8),
        position,
        at: word(whole, 24),
        durable,
        payload: &whole[RECORD_HEAD..RECORD_HEAD + payload],
        end: at + whole.len(),
    })
}

/// A mirror that is whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mirror<'a> {
    pub(crate) sequence: u64,
    /// The last record that was known to be on the disk when this was written.
    pub(crate) durable: u64,
    /// Where the bytes belong.
    pub(crate) offset: usize,
    pub(crate) bytes: &'a [u8],
}

/// The mirror's bytes.
pub(crate) fn put_mirror(buffer: &mut Vec<u8>, seed: u64, mirror: Mirror<'_>) {
    let length = u32::try_from(mirror.bytes.len()).expect("a mirror is bounded");
    buffer.clear();
    buffer.extend_from_slice(&[0; 8]);
    for value in [mirror.sequence, mirror.durable, mirror.offset as u64] {
        buffer.extend_from_slice(&value.to_le_bytes());
    }
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.resize(MIRROR_HEAD, 0);
    buffer.extend_from_slice(mirror.bytes);
    let checksum = xxh3_64_with_seed(&buffer[8..], seed);
    buffer[..8].copy_from_slice(&checksum.to_le_bytes());
}

/// The mirrors of a segment that are whole, the older one first.
pub(crate) fn mirrors(bytes: &[u8], seed: u64) -> Vec<Mirror<'_>> {
    let mut found: Vec<_> = MIRRORS_AT.iter().filter_map(|at| mirror(bytes, seed, *at)).collect();
    found.sort_by_key(|mirror| mirror.sequence);
    found
}

fn mirror(bytes: &[u8], seed: u64, at: usize) -> Option<Mirror<'_>> {
    let place = bytes.get(at..at + MIRROR_LEN)?;
    let length = half(place, 32) as usize;
    let whole = place.get(..MIRROR_HEAD.checked_add(length)?)?;
    let offset = usize::try_from(word(whole, 24)).ok()?;
    let fits = offset >= RECORDS_AT && offset.checked_add(length)? <= bytes.len();
    // A place that was never written holds zeros, of which the checksum is not zero.
    (fits && word(whole, 0) == xxh3_64_with_seed(&whole[8..], seed)).then(|| Mirror {
        sequence: word(whole, 8),
        durable: word(whole, 16),
        offset,
        bytes: &whole[MIRROR_HEAD..],
    })
}
