//! Keeps the authorities by which this user's clusters are known, and asks at first contact.
//!
//! Always true: an authority is trusted only after the user or a fingerprint has confirmed it; from
//! then on the cluster has no other one, and never talks in plain text.

use std::{
    collections::BTreeMap,
    fs, io,
    io::{BufRead as _, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use conclave_client::{Authority, FetchError, Fingerprint, Roots, fetch_authority, is_loopback};

use crate::{
    credentials,
    errors::{CommandError, EXIT_FAILED, EXIT_PERMISSION, EXIT_UNAVAILABLE, EXIT_USAGE, note},
};

/// Longest time that a node may take to show its certificate.
const FETCH_LIMIT: Duration = Duration::from_secs(1);
/// Maximum number of bytes read of the user's answer.
const ANSWER_BYTES_MAX: u64 = 64;
/// Maximum length of a file of authorities in bytes: those of the whole web have 300 kB.
const ROOTS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Characters in a line of PEM (RFC 7468).
const PEM_COLUMNS: usize = 64;
const PLAIN_SCHEME: &str = "http://";
const TLS_SCHEME: &str = "https://";

/// The known authority of each `HOST:PORT`, in base64.
type Stored = BTreeMap<String, String>;

/// Returns the authority of the cluster at these addresses: the one that is known, or the one that
/// is confirmed now. `None` if the cluster talks in plain text, on loopback.
///
/// # Errors
/// If the authority of the cluster is not known.
pub(crate) async fn find(
    endpoints: &[String],
    expected: Option<Fingerprint>,
) -> Result<Option<Authority>, CommandError> {
    let addresses: Vec<&str> = endpoints
        .iter()
        .map(|endpoint| without_scheme(endpoint))
        .collect();
    // A user who gives the fingerprint needs no file, nor a home directory.
    let file = match expected {
        Some(_) => path().ok(),
        None => Some(path()?),
    };
    let stored = match &file {
        Some(file) => load(file)?,
        None => Stored::new(),
    };
    for address in &addresses {
        let Some(text) = stored.get(*address) else {
            continue;
        };
        let authority = decode(text)?;
        if let Some(expected) = expected.filter(|expected| *expected != authority.fingerprint()) {
            return Err(another(address, authority.fingerprint(), expected));
        }
        return Ok(Some(authority));
    }
    let begins = |scheme: &str| endpoints.iter().any(|at| at.trim().starts_with(scheme));
    if begins(PLAIN_SCHEME) && expected.is_none() {
        return Ok(None);
    }
    let encrypted = begins(TLS_SCHEME) || expected.is_some();
    let Some((address, authority)) = ask(&addresses, encrypted).await? else {
        return Ok(None);
    };
    let fingerprint = authority.fingerprint();
    match expected {
        Some(expected) if expected == fingerprint => {}
        Some(expected) => return Err(another(address, fingerprint, expected)),
        None => confirm(address, fingerprint).await?,
    }
    if let Some(file) = file {
        pin_in(&file, addresses, &authority)?;
    }
    Ok(Some(authority))
}

/// Remembers by which authority the cluster at these addresses is known.
///
/// # Errors
/// If the file cannot be read or written.
pub(crate) fn pin(endpoints: &[String], authority: &Authority) -> Result<(), CommandError> {
    let addresses = endpoints.iter().map(|endpoint| without_scheme(endpoint));
    pin_in(&path()?, addresses, authority)
}

/// Returns the known addresses, and the fingerprint for each.
///
/// # Errors
/// If the file is damaged.
pub(crate) fn known() -> Result<Vec<(String, Fingerprint)>, CommandError> {
    let stored = load(&path()?)?.into_iter();
    stored
        .map(|(address, text)| Ok((address, decode(&text)?.fingerprint())))
        .collect()
}

/// Returns the certificate of the authority that is known for this address, in PEM; `None` if the
/// address is not known.
///
/// # Errors
/// If the file is damaged.
pub(crate) fn exported(endpoint: &str) -> Result<Option<String>, CommandError> {
    let stored = load(&path()?)?;
    let Some(text) = stored.get(without_scheme(endpoint)) else {
        return Ok(None);
    };
    let letters = STANDARD.encode(decode(text)?.der());
    let lines = letters.as_bytes().chunks(PEM_COLUMNS);
    let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned());
    let lines: Vec<String> = lines.collect();
    Ok(Some(format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----",
        lines.join("\n")
    )))
}

/// Reads the authorities in a file.
///
/// # Errors
/// If the file cannot be read or holds no authority.
pub(crate) fn roots(file: &Path) -> Result<Roots, CommandError> {
    let wrong = |why: String| {
        CommandError::new(
            EXIT_USAGE,
            format!("{} cannot be used: {why}", file.display()),
            "give --ca-file the certificates of authorities in PEM, such as \
             /etc/ssl/certs/ca-certificates.crt or what conclave trust export writes",
        )
    };
    let mut pem = Vec::new();
    let read = fs::File::open(file).and_then(|file| {
        let mut file = file.take(ROOTS_BYTES_MAX);
        file.read_to_end(&mut pem)
    });
    read.map_err(|error| wrong(error.to_string()))?;
    Roots::from_pem(&pem).map_err(|error| wrong(error.to_string()))
}

/// Forgets the cluster at this address, with all its addresses; returns their number.
///
/// # Errors
/// If the file cannot be read or written.
pub(crate) fn forget(endpoint: &str) -> Result<usize, CommandError> {
    let path = path()?;
    let mut stored = load(&path)?;
    let Some(authority) = stored.get(without_scheme(endpoint)).cloned() else {
        return Ok(0);
    };
    let before = stored.len();
    stored.retain(|_, other| *other != authority);
    credentials::replace(&path, &stored)?;
    Ok(before - stored.len())
}

/// Asks one address after the other until one shows an authority; `None` if the cluster talks in
/// plain text.
async fn ask<'a>(
    addresses: &[&'a str],
    encrypted: bool,
) -> Result<Option<(&'a str, Authority)>, CommandError> {
    let all_here = addresses.iter().all(|address| is_loopback(address));
    let may_be_plain = all_here && !encrypted;
    let mut last = None;
    for address in addresses {
        let error = match fetch_authority(address, FETCH_LIMIT).await {
            Ok(authority) => return Ok(Some((address, authority))),
            Err(error) => error,
        };
        let (exit, hint) = match &error {
            FetchError::NotTls(_) if may_be_plain => return Ok(None),
            FetchError::NotTls(_) => (
                EXIT_PERMISSION,
                "plain text is sent on loopback only: name a node that speaks TLS",
            ),
            FetchError::NotTrusted(_) => (
                EXIT_PERMISSION,
                "name the client address of a node, not that of a proxy",
            ),
            FetchError::Unreachable(_) | FetchError::Silent(_) => {
                last = Some((address, error));
                continue;
            }
        };
        return Err(CommandError::new(exit, sentence(address, &error), hint));
    }
    match last {
        Some((address, error)) if !may_be_plain => Err(CommandError::new(
            EXIT_UNAVAILABLE,
            sentence(address, &error),
            "check that a node runs there and can be reached from here",
        )),
        // The call itself will report what is wrong.
        _ => Ok(None),
    }
}

fn sentence(address: &str, error: &FetchError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{address}: {error}{}", cause.unwrap_or_default())
}

fn another(address: &str, is: Fingerprint, expected: Fingerprint) -> CommandError {
    CommandError::new(
        EXIT_PERMISSION,
        format!("the cluster at {address} has the fingerprint {is}, not {expected}"),
        "an attacker may intercept the connection: ask the administrator for the fingerprint",
    )
}

/// Asks the user to confirm the fingerprint.
async fn confirm(address: &str, fingerprint: Fingerprint) -> Result<(), CommandError> {
    let unknown =
        || format!("the cluster at {address} is not known here: fingerprint {fingerprint}");
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let hint =
            format!("if its nodes print the same when they are ready: --fingerprint {fingerprint}");
        return Err(CommandError::new(EXIT_PERMISSION, unknown(), hint));
    }
    note(&unknown());
    note("Its nodes print it when they are ready. Is it the same? [y/N]");
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        let mut stdin = io::stdin().lock().take(ANSWER_BYTES_MAX);
        stdin.read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await.ok().and_then(Result::ok).unwrap_or_default();
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    let hint = "ask the administrator of the cluster for its fingerprint";
    Err(CommandError::new(EXIT_USAGE, "nothing was sent", hint))
}

fn path() -> Result<PathBuf, CommandError> {
    Ok(credentials::directory()?.join("authorities.json"))
}

fn load(path: &Path) -> Result<Stored, CommandError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::new()),
        Err(error) => return Err(credentials::failed("read", path, &error)),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let sentence = format!("{} is damaged: {error}", path.display());
        let hint = "delete the file; the fingerprints of clusters are asked for again";
        CommandError::new(EXIT_FAILED, sentence, hint)
    })
}

fn decode(text: &str) -> Result<Authority, CommandError> {
    let der = STANDARD.decode(text).ok();
    let authority = der.and_then(|der| Authority::from_der(der).ok());
    authority.ok_or_else(|| {
        CommandError::new(
            EXIT_FAILED,
            "the file of known authorities is damaged",
            "delete authorities.json beside the credentials; fingerprints are asked for again",
        )
    })
}

fn pin_in<'a>(
    path: &Path,
    addresses: impl IntoIterator<Item = &'a str>,
    authority: &Authority,
) -> Result<(), CommandError> {
    let mut stored = load(path)?;
    let before = stored.len();
    for address in addresses {
        // A known authority stays what it is.
        stored
            .entry(address.to_owned())
            .or_insert_with(|| STANDARD.encode(authority.der()));
    }
    if stored.len() == before {
        return Ok(());
    }
    credentials::replace(path, &stored)
}

/// Returns `HOST:PORT` without scheme and trailing slash.
fn without_scheme(endpoint: &str) -> &str {
    let endpoint = endpoint.trim();
    let mut schemes = [PLAIN_SCHEME, TLS_SCHEME].into_iter();
    let without = schemes.find_map(|scheme| endpoint.strip_prefix(scheme));
    let address = without.unwrap_or(endpoint);
    address.strip_suffix('/').unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use conclave_server::ClusterSecret;

    use super::*;

    fn authority() -> Authority {
        Authority::from_der(ClusterSecret::generate().unwrap().authority()).unwrap()
    }

    #[test]
    fn a_pinned_authority_stays_until_it_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("conclave").join("authorities.json");
        assert!(load(&path).unwrap().is_empty());
        let (first, second) = (authority(), authority());
        pin_in(&path, ["a:1", "b:1"], &first).unwrap();
        pin_in(&path, ["b:1", "c:1"], &second).unwrap();
        let stored = load(&path).unwrap();
        let known = |address: &str| decode(&stored[address]).unwrap();
        assert_eq!(known("a:1"), first);
        assert_eq!(known("b:1"), first, "it is not replaced");
        assert_eq!(known("c:1"), second);
    }

    #[test]
    fn a_damaged_file_is_an_error_with_a_hint() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("authorities.json");
        fs::write(&path, "{").unwrap();
        assert_eq!(load(&path).unwrap_err().exit(), EXIT_FAILED);
        assert_eq!(decode("AAAA").unwrap_err().exit(), EXIT_FAILED);
    }

    #[tokio::test]
    async fn the_cli_uses_plain_text_only_on_loopback() {
        // An address reserved for documentation, where nothing answers.
        let refused = ask(&["192.0.2.1:1"], false).await.unwrap_err();
        assert_eq!(refused.exit(), EXIT_UNAVAILABLE);
        assert!(ask(&["127.0.0.1:1"], false).await.unwrap().is_none());
        assert!(ask(&["127.0.0.1:1"], true).await.is_err());
    }
}
