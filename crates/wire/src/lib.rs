//! The protocol in code, and its translation into the types of the rules.
//!
//! This is the only place where both are known: code that speaks to clients, peers or the log goes
//! through here. Untyped data stops here; what comes out has passed every bound that does not need
//! the state.

pub mod address;
pub mod answer;
pub mod batch;
pub mod codec;
pub mod dial;
pub mod operator;
pub mod problem;
mod reason;
pub mod request;
pub mod trust;

/// As the packages of the protocol stand to each other: generated code finds its neighbours so.
#[allow(missing_docs, clippy::all, unreachable_pub, unused_qualifications)]
mod generated {
    pub mod v1 {
        tonic::include_proto!("conclave.v1");
    }
    pub mod peer {
        pub mod v1 {
            tonic::include_proto!("conclave.peer.v1");
        }
    }
}

/// What nodes say to each other and store. Generated from `proto/conclave/peer/v1`.
pub use generated::peer::v1 as peer;
/// What clients see. Generated from `proto/conclave/v1`; the comments there are the reference.
pub use generated::v1;

/// The encoded descriptors of all files.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The encoded descriptors of what clients see, for reflection.
pub const PUBLIC_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));

pub use operator::OperatorCredential;
pub use problem::Problem;
pub use reason::Reason;
