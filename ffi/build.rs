//! How the shared library is linked: by its ABI's name, never unloaded (its threads and thread-local values would be left
//! without their code), with nothing undefined and nothing writable that need not be.

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // Before 1.0 every minor version may change the ABI.
    let abi = match version.strip_prefix("0.") {
        Some(rest) => format!("0.{}", rest.split('.').next().unwrap_or_default()),
        None => version.split('.').next().unwrap_or_default().to_owned(),
    };
    for argument in [
        &*format!("-soname,libsidestep.so.{abi}"),
        "-z,nodelete",
        "-z,relro",
        "-z,now",
        "-z,noexecstack",
        "-z,defs",
    ] {
        println!("cargo::rustc-cdylib-link-arg=-Wl,{argument}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
