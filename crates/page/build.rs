//! Lists the files of `web/dist` for `src/lib.rs`, which includes them.
//!
//! Always true: a program that is built without that directory has no page, and builds all the
//! same. The list is in the order of the paths, so the same files make the same program.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

/// Suffixes of the packed forms of a file.
const BROTLI: &str = ".br";
const GZIP: &str = ".gz";

fn main() -> io::Result<()> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist");
    let mut files = BTreeMap::new();
    // Without the directory this runs at each build, and finds the page once it is there.
    println!("cargo::rerun-if-changed={}", dist.display());
    if dist.is_dir() {
        collect(&dist, "", &mut files)?;
    }
    let mut list = String::from("&[\n");
    for (path, file) in &files {
        if path.ends_with(BROTLI) || path.ends_with(GZIP) {
            continue;
        }
        let packed = |suffix: &str| match files.get(&format!("{path}{suffix}")) {
            Some(packed) => format!("Some({})", include(packed)),
            None => "None".to_owned(),
        };
        let (brotli, gzip) = (packed(BROTLI), packed(GZIP));
        let bytes = include(file);
        list += &format!(
            "File {{ path: {path:?}, bytes: {bytes}, brotli: {brotli}, gzip: {gzip} }},\n"
        );
    }
    list += "]\n";
    let target = env::var_os("OUT_DIR").map(PathBuf::from);
    let target = target.ok_or_else(|| io::Error::other("cargo names no OUT_DIR"))?;
    fs::write(target.join("files.rs"), list)
}

/// Adds the files below a directory, by their path with slashes.
fn collect(
    directory: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, PathBuf>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| io::Error::other("the name of a file is not UTF-8"))?;
        let path = format!("{prefix}{name}");
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), &format!("{path}/"), files)?,
            false => {
                files.insert(path, entry.path());
            }
        }
    }
    Ok(())
}

fn include(path: &Path) -> String {
    format!("include_bytes!({path:?})")
}
