//! Words for a node that does not start: the reason, and what the operator can do.
//!
//! Always true: the exit code says whether the command line, the data or something else is wrong,
//! and nothing is changed.

use std::path::Path;

use conclave_server::{
    ConfigError, Fault, IdentityError, OwnCertificateError, SecurityError, StartError, Stuck,
};

use super::disk::failed;
use crate::errors::{CommandError, EXIT_DAMAGED, EXIT_FAILED, EXIT_USAGE};

/// Puts a wrong setting into words for the operator.
pub(super) fn wrong_config(error: ConfigError) -> CommandError {
    let hint = "`conclave serve --help` lists what can be set; in a file and in the environment \
                the same words are written with underscores";
    CommandError::new(EXIT_USAGE, error.to_string(), hint)
}

/// Puts the reason why the node did not start into words for the operator.
pub(super) fn no_start(data: &Path, error: StartError) -> anyhow::Error {
    let is_of_lock = matches!(error, StartError::Identity(IdentityError::Lock { .. }));
    let failure = error.disk_failure();
    // The lock file of another user has words of its own.
    let failure = failure.filter(|failure| !(is_of_lock && failure.fault == Fault::Refused));
    if let Some(failure) = failure {
        tracing::error!(error = %failure, "the disk has failed");
        return failed(data, &failure).into();
    }
    let (sentence, hint) = match &error {
        StartError::Config(ConfigError::NoTraces | ConfigError::Trace(_)) => {
            let hint = match error {
                StartError::Config(ConfigError::NoTraces) => {
                    "build the program with `--features otlp`, or leave the setting out of the \
                     file and of the environment (CONCLAVE_TRACE_OTLP)"
                }
                _ => {
                    "a collector is named in the file as `otlp` of the table `trace`, or by \
                      CONCLAVE_TRACE_OTLP, such as http://127.0.0.1:4317"
                }
            };
            return CommandError::new(EXIT_USAGE, error.to_string(), hint).into();
        }
        StartError::Config(_) => {
            let hint = "addresses are written as HOST:PORT, members as \
                        1=PEERHOST:PORT/CLIENTHOST:PORT,2=…";
            return CommandError::new(EXIT_USAGE, error.to_string(), hint).into();
        }
        StartError::Listen {
            address,
            callers,
            source,
        } if source.kind() == std::io::ErrorKind::AddrInUse => {
            let sentence = format!("the address {address} for {callers} is in use");
            (
                sentence,
                "stop the other program, or choose another address",
            )
        }
        StartError::Identity(error) => return of_identity(error).into(),
        StartError::Security(error) => (chain(error), security_hint(error)),
        StartError::Join(_) => (
            chain(&error),
            "conclave serve --help says what belongs together; --advertise HOST says where \
             others reach a node",
        ),
        StartError::Refused(problem) => {
            let (code, hint) = crate::errors::of_reason(problem.reason());
            return CommandError::new(code, error.to_string(), hint).into();
        }
        StartError::Damaged { stuck, .. } => {
            let hint = damaged_hint(stuck);
            return CommandError::new(EXIT_DAMAGED, error.to_string(), hint).into();
        }
        StartError::Replica(cause) => (
            chain(&error),
            cause
                .version_hint()
                .unwrap_or("leave the files as they are and see docs/operations.md"),
        ),
        StartError::Listen { .. } | StartError::Disk(_) | StartError::System(_) => (
            chain(&error),
            "docs/operations.md says how a node is started",
        ),
    };
    CommandError::new(EXIT_FAILED, sentence, hint).into()
}

/// Puts the reason why the directory cannot be used into words for the operator.
fn of_identity(error: &IdentityError) -> CommandError {
    let (code, hint) = match error {
        IdentityError::InUse { .. } => (
            EXIT_FAILED,
            "stop the other process; do not remove the lock file",
        ),
        IdentityError::Lock { .. } => (
            EXIT_FAILED,
            "run the node as the user that owns its directory, or give that user the files: it \
             was perhaps started as root once",
        ),
        IdentityError::OtherNode { .. } => (
            EXIT_FAILED,
            "start it with its own --node, or give this node its own --data",
        ),
        IdentityError::NotAWitness { .. } => (
            EXIT_FAILED,
            "leave --witness out, or give the witness a directory of its own",
        ),
        IdentityError::Unfinished { .. } => (
            EXIT_DAMAGED,
            "run the same command again (conclave restore, or conclave import), which begins \
             anew; or remove the directory",
        ),
        _ => (EXIT_FAILED, "docs/operations.md says how a node is started"),
    };
    CommandError::new(code, chain(error), hint)
}

/// Returns the hint for damaged data that no other node has, or that no other node sends.
fn damaged_hint(stuck: &Stuck) -> &'static str {
    match stuck {
        Stuck::Alone => {
            "nothing was changed: restore a backup of the whole directory, or give --join with \
             the peer addresses of healthy nodes"
        }
        Stuck::NoSecret => {
            "on a healthy node remove this one with `conclave cluster remove`, add it under \
             a new number, and start it with an empty directory"
        }
        Stuck::TooOften { .. } => {
            "check the disk and the memory of this machine; when they are good remove the \
             damaged-N directories, and start it again"
        }
        Stuck::NotAdmitted { .. } => {
            "nothing was changed: start the other nodes, of which a majority must be healthy, and \
             then this one again"
        }
        Stuck::Refused(problem) => crate::errors::of_reason(problem.reason()).1,
    }
}

fn security_hint(error: &SecurityError) -> &'static str {
    match error {
        SecurityError::PlainOffLoopback { .. } => {
            "leave out --plain: then all connections of clients are encrypted"
        }
        SecurityError::SecretMissing => {
            "give every node the same --secret-file: `conclave token secret` makes one"
        }
        SecurityError::OwnHalf => {
            "give --tls-certificate and --tls-key, or neither: without them clients know the \
             cluster by its fingerprint"
        }
        SecurityError::OwnInPlain => "leave out --plain, or --tls-certificate and --tls-key",
        SecurityError::Own(OwnCertificateError::Curve { .. }) => {
            "make a key on P-256 or P-384, of Ed25519, or of RSA, and a certificate for it"
        }
        SecurityError::Own(_) => {
            "both are PEM files that the node can read: the certificate of the name and the chain \
             to its authority, in this order, and the private key without a passphrase"
        }
        SecurityError::Certificates(_) => "the operating system must provide random bytes",
    }
}

/// Formats an error with all its causes as one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |sentence, cause| {
        format!("{sentence}: {cause}")
    })
}
