//! Arbitrary VM files.
#![no_main]

use std::{cell::RefCell, fs};

use nds_client::Config;
use tempfile::TempDir;

thread_local! {
    static DIR: RefCell<TempDir> = RefCell::new(tempfile::tempdir().expect("a directory"));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    const FILES: [&str; 5] = ["cluster.env", "mesh.yaml", "hosts", "root-cert.pem", "istio-token"];
    DIR.with_borrow(|dir| {
        let mut parts = bytes.split(|byte| *byte == 0);
        for file in FILES {
            fs::write(dir.path().join(file), parts.next().unwrap_or_default()).expect("a file");
        }
        let _ = Config::from_vm_files(dir.path());
    });
});
