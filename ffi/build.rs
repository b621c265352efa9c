//! How the shared library is linked: by its ABI's name, never unloaded (its threads and thread-local values would be left
//! without their code), with nothing undefined and nothing writable that need not be.

use std::env;

fn main() {
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // Before 1.0 every minor version may change the ABI.
    let abi = match version.strip_prefix("0.") {
        Some(rest) => format!("0.{}", rest.split('.').next().unwrap_or_default()),
        None => version.split('.').next().unwrap_or_default().to_owned(),
    };
    for argument in
        [&*format!("-soname,libsidestep.so.{abi}"), "-z,nodelete", "-z,relro", "-z,now", "-z,noexecstack"]
    {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{argument}");
    }
    // What a fuzzer or a sanitizer calls is in the program alone.
    if env::var_os("CARGO_CFG_FUZZING").is_none() && env::var_os("CARGO_CFG_SANITIZE").is_none() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
