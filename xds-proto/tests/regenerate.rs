//! Compares the checked-in code with the code generated from the `.proto` files. `SIDESTEP_REGENERATE=1 cargo test -p
//! xds-proto` updates the checked-in code. protox compiles the files; `protoc` is not needed.

#![allow(clippy::expect_used, reason = "a test that cannot prepare itself fails")]

use std::{fs, path::Path};

const ROOTS: &[&str] = &[
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/extensions/transport_sockets/internal_upstream/v3/internal_upstream.proto",
    "envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "envoy/service/discovery/v3/ads.proto",
    "istio/mesh/v1alpha1/proxy.proto",
    "istio/networking/nds/v1/nds.proto",
    "istio/v1/auth/ca.proto",
];

fn generate(into: &Path) {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let descriptors = protox::compile(ROOTS, [protos]).expect("the .proto files compile");
    tonic_prost_build::configure()
        .out_dir(into)
        .compile_well_known_types(true)
        .bytes(".")
        .build_transport(false)
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .include_file("mod.rs")
        .compile_fds(descriptors)
        .expect("Rust code is generated from the descriptors");
}

fn files(dir: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("the directory of generated code")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path.file_name().expect("a file name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("generated code is text"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_checked_in_code_matches_the_proto_files() {
    let generated = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/generated");
    let fresh = tempfile::tempdir().expect("a temporary directory");
    generate(fresh.path());
    if std::env::var_os("SIDESTEP_REGENERATE").is_some() {
        fs::create_dir_all(&generated).expect("src/generated");
        for (name, text) in files(fresh.path()) {
            fs::write(generated.join(name), text).expect("writing generated code");
        }
        return;
    }
    for ((have, ours), (want, theirs)) in files(&generated).iter().zip(&files(fresh.path())) {
        assert_eq!(have, want, "a file is missing or too many");
        assert!(ours == theirs, "{have} is stale: run SIDESTEP_REGENERATE=1 cargo test -p xds-proto");
    }
    assert_eq!(files(&generated).len(), files(fresh.path()).len());
}
