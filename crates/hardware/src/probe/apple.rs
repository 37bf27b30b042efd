//! Asks macOS by name (`sysctlbyname`).
#![allow(unsafe_code)]

use std::ffi::CStr;

/// A number of the system's, or nothing where the name is unknown.
pub(crate) fn number(name: &CStr) -> Option<u64> {
    let mut bytes = [0_u8; 8];
    let length = read(name, &mut bytes)?;
    match length {
        4 => Some(u32::from_ne_bytes(bytes[..4].try_into().ok()?).into()),
        8 => Some(u64::from_ne_bytes(bytes)),
        _ => None,
    }
}

/// A text of the system's, or nothing where the name is unknown.
pub(crate) fn text(name: &CStr) -> Option<String> {
    let mut bytes = [0_u8; 256];
    let length = read(name, &mut bytes)?;
    let text = CStr::from_bytes_until_nul(bytes.get(..length)?).ok()?;
    Some(text.to_string_lossy().trim().to_owned())
}

fn read(name: &CStr, bytes: &mut [u8]) -> Option<usize> {
    let mut length = bytes.len();
    // SAFETY: the name ends in a zero; the system writes at most `length` bytes, which `bytes` has; nothing is set.
    let status = unsafe {
        libc::sysctlbyname(name.as_ptr(), bytes.as_mut_ptr().cast(), &raw mut length, std::ptr::null_mut(), 0)
    };
    (status == 0).then_some(length)
}
