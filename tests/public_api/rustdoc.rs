//! rustdoc's description of a crate.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::Failed;

/// Runs rustdoc for a package and returns the file with the JSON.
pub(crate) fn json(root: &Path, package: &str, features: &[String]) -> Result<PathBuf, Failed> {
    let target = root.join("target");
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["rustdoc", "--quiet", "--lib", "--package", package])
        .args(features)
        .arg("--target-dir")
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"])
        .env("RUSTDOC", unstable_rustdoc(&target)?)
        .env_remove("RUSTDOCFLAGS")
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(target.join("doc").join(format!("{}.json", package.replace('-', "_"))))
}

/// A script that runs rustdoc with its unstable options. An environment variable for cargo itself would rebuild the
/// dependencies whose build scripts read it.
fn unstable_rustdoc(target: &Path) -> Result<PathBuf, Failed> {
    let script = target.join("tmp").join("unstable-rustdoc");
    fs::create_dir_all(script.parent().ok_or("no parent")?)?;
    fs::write(&script, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}
