//! The operator's own certificate, for clients that know the cluster by its public name.
//!
//! It is read from two PEM files when the node starts, and again when they change. Always true:
//! clients get a certificate with its own key; files that are no such pair leave the old
//! certificate in use. No error shows a byte of the key.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use conclave_tls::provider;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use webpki::EndEntityCert;

/// Pause between two looks at the files. Their content is read, not only their times: two changes
/// within one tick of a file system's clock are two changes, and to read some kilobytes costs
/// nothing.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Maximum length of a file in bytes: a chain has some kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Prefix that some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The curve P-521 in DER, as it stands in every key on it.
const CURVE_P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

/// Returns whether a key names the curve P-521.
fn has_curve_p521(der: &[u8]) -> bool {
    let mut places = der.windows(CURVE_P521.len());
    places.any(|place| place == CURVE_P521)
}

/// The operator's own certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the failure.
        #[source]
        source: io::Error,
    },
    /// There is no certificate in the file.
    #[error("{} holds no certificate in PEM", path.display())]
    NoCertificate {
        /// Path of the file.
        path: PathBuf,
    },
    /// There is no key in the file.
    #[error("{} holds no private key in PEM", path.display())]
    NoKey {
        /// Path of the file.
        path: PathBuf,
    },
    /// The key is of a kind that this program does not sign with.
    #[error("the key in {} is on the curve P-521, which this program does not use", path.display())]
    Curve {
        /// Path of the file.
        path: PathBuf,
    },
    /// The certificate and the key do not belong together.
    #[error("{} is not the key of the certificate in {}", key.display(), certificate.display())]
    NoPair {
        /// Path of the certificate.
        certificate: PathBuf,
        /// Path of the key.
        key: PathBuf,
        /// What does not fit.
        #[source]
        source: rustls::Error,
    },
}

/// Paths of the certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Content of both files at one time.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    fn read(&self) -> Result<Contents, OwnCertificateError> {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }

    /// Parses the certificate and its key.
    fn pair(&self, contents: &Contents) -> Result<Arc<CertifiedKey>, OwnCertificateError> {
        let chain = CertificateDer::pem_slice_iter(&contents.certificate);
        let chain: Vec<_> = chain.collect::<Result<_, _>>().unwrap_or_default();
        if chain.is_empty() {
            let path = self.certificate.clone();
            return Err(OwnCertificateError::NoCertificate { path });
        }
        // The parser's message may quote the file.
        let key = PrivateKeyDer::from_pem_slice(&contents.key);
        let key = key.map_err(|_| OwnCertificateError::NoKey {
            path: self.key.clone(),
        })?;
        if has_curve_p521(key.secret_der()) {
            let path = self.key.clone();
            return Err(OwnCertificateError::Curve { path });
        }
        let pair = CertifiedKey::from_der(chain, key, &provider());
        let pair = pair.map_err(|source| OwnCertificateError::NoPair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })?;
        Ok(Arc::new(pair))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, OwnCertificateError> {
    let unreadable = |source| OwnCertificateError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let mut file = file.take(FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    // Some editors begin a file with this mark.
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Returns the DNS names that a certificate is for.
pub(crate) fn names_in(pair: &CertifiedKey) -> String {
    let leaf = pair.cert.first().map(EndEntityCert::try_from);
    let names: Vec<String> = match &leaf {
        Some(Ok(leaf)) => leaf.valid_dns_names().map(str::to_owned).collect(),
        Some(Err(_)) | None => Vec::new(),
    };
    names.join(", ")
}

/// Watches the files for changes.
pub(crate) struct Watch {
    files: Files,
    /// Digest of the files at the last look.
    seen: blake3::Hash,
}

impl Watch {
    /// Begins with what is in the files now.
    ///
    /// # Errors
    /// [`OwnCertificateError`] if the files are no pair.
    pub(crate) fn start(files: Files) -> Result<(Self, Arc<CertifiedKey>), OwnCertificateError> {
        let contents = files.read()?;
        let pair = files.pair(&contents)?;
        let seen = digest(&contents);
        Ok((Self { files, seen }, pair))
    }

    /// Returns the pair if it differs from the last look; `None` if it is the same. Files that are
    /// no pair give an error at the first look, and `None` at the next.
    ///
    /// # Errors
    /// [`OwnCertificateError`]; the certificate in use may stay.
    pub(crate) fn look(&mut self) -> Result<Option<Arc<CertifiedKey>>, OwnCertificateError> {
        let contents = self.files.read();
        let now = match &contents {
            Ok(contents) => digest(contents),
            Err(error) => blake3::hash(error.to_string().as_bytes()),
        };
        if std::mem::replace(&mut self.seen, now) == now {
            return Ok(None);
        }
        self.files.pair(&contents?).map(Some)
    }
}

fn digest(contents: &Contents) -> blake3::Hash {
    let parts = [&contents.certificate, &contents.key].map(|part| blake3::hash(part));
    blake3::hash(&[*parts[0].as_bytes(), *parts[1].as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let wanted = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = wanted.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn files(directory: &Path) -> Files {
        Files {
            certificate: directory.join("chain.pem"),
            key: directory.join("key.pem"),
        }
    }

    fn start(files: &Files) -> Result<Arc<CertifiedKey>, OwnCertificateError> {
        Watch::start(files.clone()).map(|(_, pair)| pair)
    }

    #[test]
    fn a_mismatched_pair_is_refused_without_showing_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let missing = start(&files).unwrap_err();
        assert!(missing.to_string().contains("chain.pem"), "{missing}");
        let ((one, one_key), (other, other_key)) = (made("a.example"), made("b.example"));
        let rubbish = format!("-----BEGIN CANARY\n{one_key}").replace("PRIVATE KEY", "CANARY");
        for (certificate, key, whose) in [
            ("", &one_key, "chain.pem"),
            (&one[..one.len() / 2], &one_key, "chain.pem"),
            (&one, &rubbish, "key.pem"),
            (&one, &one, "key.pem"),
            (&one, &other_key, "is not the key of"),
            (
                &[other, one.clone()].concat(),
                &one_key,
                "is not the key of",
            ),
        ] {
            fs::write(&files.certificate, certificate).unwrap();
            fs::write(&files.key, key).unwrap();
            let refused = start(&files).unwrap_err();
            let cause = std::error::Error::source(&refused).map(ToString::to_string);
            let told = format!("{refused} {cause:?}");
            assert!(told.contains(whose) && !told.contains("CANARY"), "{told}");
        }
        fs::write(&files.certificate, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
        assert!(start(&files).is_err(), "it is too long");
    }

    #[test]
    fn a_byte_order_mark_is_ignored_and_a_wrong_curve_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let (certificate, key) = made("a.example");
        for (file, text) in [(&files.certificate, &certificate), (&files.key, &key)] {
            fs::write(file, [BYTE_ORDER_MARK, text.as_bytes()].concat()).unwrap();
        }
        start(&files).unwrap();
        // The output of `openssl ecparam -name secp521r1 -genkey -noout | openssl pkcs8 -topk8
        // -nocrypt`; the curve stands before the key.
        let der = [
            &[0x30, 0x17, 0x02, 0x01, 0x00, 0x30, 0x10][..],
            &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
            CURVE_P521,
            &[0x04, 0x00],
        ]
        .concat();
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        fs::write(&files.key, pem).unwrap();
        let refused = start(&files).unwrap_err().to_string();
        assert!(
            refused.contains("P-521") && refused.contains("key.pem"),
            "{refused}"
        );
    }

    #[test]
    fn replaced_certificate_files_are_loaded_once_they_match() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let ((one, one_key), (two, two_key)) = (made("one.example"), made("two.example"));
        fs::write(&files.certificate, &one).unwrap();
        fs::write(&files.key, &one_key).unwrap();
        let (mut watch, pair) = Watch::start(files.clone()).unwrap();
        assert_eq!(names_in(&pair), "one.example");
        assert!(watch.look().unwrap().is_none());

        fs::write(&files.certificate, &two).unwrap();
        assert!(watch.look().is_err(), "the key is still the old one");
        assert!(watch.look().unwrap().is_none(), "that was told");
        fs::write(&files.key, &two_key).unwrap();
        let pair = watch.look().unwrap().unwrap();
        assert_eq!(names_in(&pair), "two.example");

        fs::remove_file(&files.key).unwrap();
        assert!(watch.look().is_err(), "a file is gone");
        assert!(watch.look().unwrap().is_none(), "that was told, too");
        fs::write(&files.key, &two_key).unwrap();
        assert!(watch.look().unwrap().is_some(), "it is there again");
    }
}
