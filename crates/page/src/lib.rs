//! The built page as bytes in the program: the files of `web/dist`, with their packed forms.
//!
//! It serves nothing, and knows neither HTTP nor Conclave. The build script lists the directory.
//!
//! Always true: what is here is what the build of the page has written, byte for byte.

/// One file of the page.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Path below the root of the page, without a slash at the beginning.
    pub path: &'static str,
    /// Content.
    pub bytes: &'static [u8],
    /// The same, packed by Brotli.
    pub brotli: Option<&'static [u8]>,
    /// The same, packed by gzip.
    pub gzip: Option<&'static [u8]>,
}

/// All files of the page, in the order of their paths; empty in a program that was built without
/// one.
pub static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

#[cfg(test)]
mod tests {
    use super::FILES;

    #[test]
    fn paths_can_be_written_into_an_address_as_they_are() {
        for file in FILES {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
            assert!(file.path.chars().all(is_plain), "{}", file.path);
            assert!(!file.path.starts_with('/'), "{}", file.path);
        }
    }

    #[test]
    fn packed_forms_are_smaller_and_a_page_has_its_document() {
        for file in FILES {
            for packed in [file.brotli, file.gzip].into_iter().flatten() {
                assert!(packed.len() < file.bytes.len(), "{}", file.path);
            }
        }
        let has_document = FILES.iter().any(|file| file.path == "index.html");
        assert!(FILES.is_empty() || has_document);
    }
}
