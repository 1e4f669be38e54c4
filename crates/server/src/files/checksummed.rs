//! Small files that show when their content has changed: JSON, followed by its BLAKE3.
//!
//! Always true: a file is written whole and synced, or not at all.

use std::{fs, io, path::Path};

use serde::{Serialize, de::DeserializeOwned};

use crate::files::durable;

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChecksumError {
    /// The file system refuses.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// The content is not what was written.
    #[error("it is not what was written: {0}")]
    Damaged(&'static str),
    /// The content was written by a version that this one does not understand.
    #[error("it was written by another version: {0}")]
    Foreign(String),
}

/// Returns what is in the file; `None` if there is no file.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, ChecksumError> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| ChecksumError::Damaged("it is no text"))?;
    let (json, seal) = text
        .strip_suffix('\n')
        .and_then(|text| text.rsplit_once('\n'))
        .ok_or(ChecksumError::Damaged("its end is missing"))?;
    if seal != seal_of(json) {
        return Err(ChecksumError::Damaged("its checksum is another one"));
    }
    let value = serde_json::from_str(json);
    value
        .map(Some)
        .map_err(|error| ChecksumError::Foreign(error.to_string()))
}

/// Writes `value` to the file; only the owner may read it.
pub(crate) fn write<T: Serialize>(file: &Path, value: &T) -> io::Result<()> {
    let json = serde_json::to_string_pretty(value)?;
    durable::replace(file, format!("{json}\n{}\n", seal_of(&json)).as_bytes())
}

/// Returns the checksum in quotes, so that the file is JSON to the end.
fn seal_of(json: &str) -> String {
    format!("\"blake3:{}\"", blake3::hash(json.as_bytes()).to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_truncation_is_detected() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("some.json");
        assert!(matches!(read::<Vec<u64>>(&file), Ok(None)));
        write(&file, &vec![7_u64, 8]).unwrap();
        assert_eq!(read(&file).unwrap(), Some(vec![7_u64, 8]));
        assert!(matches!(
            read::<Vec<String>>(&file),
            Err(ChecksumError::Foreign(_))
        ));
        let good = fs::read(&file).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, &bad).unwrap();
            let refused = read::<Vec<u64>>(&file);
            assert!(
                matches!(refused, Err(ChecksumError::Damaged(_))),
                "bit {bit}"
            );
        }
        for bytes in 0..good.len() {
            fs::write(&file, &good[..bytes]).unwrap();
            let refused = read::<Vec<u64>>(&file);
            assert!(matches!(refused, Err(ChecksumError::Damaged(_))), "{bytes}");
        }
        write(&file, &vec![9_u64]).unwrap();
        assert_eq!(read(&file).unwrap(), Some(vec![9_u64]));
        durable::remove(&file).unwrap();
        durable::remove(&file).unwrap();
        assert!(matches!(read::<Vec<u64>>(&file), Ok(None)));
    }
}
