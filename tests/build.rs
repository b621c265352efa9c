//! Passes the folder of a locally built libcurl 8 to the tests, because Debian 12 contains an older version.

fn main() {
    let root = std::env::var("DEP_CURL_ROOT").unwrap_or_default();
    println!("cargo::rustc-env=LIBCURL_8={root}");
    println!("cargo::rerun-if-changed=build.rs");
}
