//! Passes on where libcurl 8 has been built: systems that people have still bring 7.88, which is no newer than it says.

fn main() {
    let root = std::env::var("DEP_CURL_ROOT").unwrap_or_default();
    println!("cargo::rustc-env=LIBCURL_8={root}");
    println!("cargo::rerun-if-changed=build.rs");
}
