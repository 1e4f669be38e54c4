//! Compiles the protocol from `proto/` without protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = [
        "conclave/v1/account.proto",
        "conclave/v1/chat.proto",
        "conclave/v1/room.proto",
        "conclave/v1/live.proto",
        "conclave/v1/admin.proto",
        "conclave/v1/upgrade.proto",
        "conclave/v1/drain.proto",
        "conclave/v1/ack.proto",
        "conclave/v1/recovery.proto",
        "conclave/v1/retention.proto",
        "conclave/v1/audit.proto",
        "conclave/v1/backup.proto",
        "conclave/peer/v1/log.proto",
        "conclave/peer/v1/peer.proto",
    ];
    let descriptors = protox::compile(files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut public = descriptors.clone();
    public.file.retain(|file| file.package() == "conclave.v1");
    fs::write(out.join("public.bin"), public.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::SmallCodec")
        .compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed={}", root.display());
    Ok(())
}
