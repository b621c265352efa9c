//! The linker options of the shared library: the ABI version in its name, no unloading (its threads and thread-local
//! values need its code), full RELRO, and no undefined symbols.

use std::env;

fn main() {
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // Before 1.0, every minor version can change the ABI.
    let abi = match version.strip_prefix("0.") {
        Some(rest) => format!("0.{}", rest.split('.').next().unwrap_or_default()),
        None => version.split('.').next().unwrap_or_default().to_owned(),
    };
    for argument in
        [&*format!("-soname,libsidestep.so.{abi}"), "-z,nodelete", "-z,relro", "-z,now", "-z,noexecstack"]
    {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{argument}");
    }
    // A fuzzer or a sanitizer leaves symbols undefined that only the program defines.
    if env::var_os("CARGO_CFG_FUZZING").is_none() && env::var_os("CARGO_CFG_SANITIZE").is_none() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,defs");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
