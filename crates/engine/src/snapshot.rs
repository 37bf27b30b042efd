//! How a snapshot is read: its first byte is the version of its layout, and nothing is left over behind it.
//!
//! What it says is the engine's business.

use serde::de::DeserializeOwned;

/// Whether a snapshot is of the layout that this build reads.
///
/// # Errors
/// A reason, when it is not.
pub fn check_version(snapshot: &[u8], version: u8) -> Result<(), String> {
    match snapshot.first() {
        Some(found) if *found == version => Ok(()),
        Some(found) => Err(format!("its version is {found}, this build reads {version}")),
        None => Err("it is empty".to_owned()),
    }
}

/// Decodes a snapshot whose first field is its version.
///
/// # Errors
/// A reason, when it is of another layout, does not decode, or goes on behind its end.
pub fn decode<T: DeserializeOwned>(snapshot: &[u8], version: u8) -> Result<T, String> {
    check_version(snapshot, version)?;
    match postcard::take_from_bytes(snapshot) {
        Ok((decoded, [])) => Ok(decoded),
        Ok((_, rest)) => Err(format!("{} bytes are left over", rest.len())),
        Err(error) => Err(format!("it does not decode ({error})")),
    }
}
