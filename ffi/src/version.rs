//! The version of the header and of the loaded library.

use std::ffi::c_char;

/// The major version of this header.
pub const SIDESTEP_VERSION_MAJOR: u32 = 0;
/// The minor version of this header.
pub const SIDESTEP_VERSION_MINOR: u32 = 1;
/// The patch version of this header.
pub const SIDESTEP_VERSION_PATCH: u32 = 0;
/// The version of this header as a number: 1000000 * major + 1000 * minor + patch.
pub const SIDESTEP_VERSION_NUMBER: u32 = 1000;

/// The version of the binary interface (ABI) of this header. It is the minor version before 1.0, and the major version
/// afterwards. The name of the shared library contains it.
pub const SIDESTEP_ABI_VERSION: u32 = 1;

/// Returns the version of the loaded library as a number, in the format of `SIDESTEP_VERSION_NUMBER`.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_version_number() -> u32 {
    SIDESTEP_VERSION_NUMBER
}

/// Returns the version of the loaded library as a text, in the format of `SIDESTEP_VERSION_STRING`. The text is constant.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_version() -> *const c_char {
    const VERSION: &std::ffi::CStr =
        match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no zero byte"),
        };
    VERSION.as_ptr()
}

/// Returns the version of the binary interface (ABI) of the loaded library. A program that loads the library at run time must
/// compare it with `SIDESTEP_ABI_VERSION`, and must not use a library whose number differs.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_abi_version() -> u32 {
    SIDESTEP_ABI_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_constants_equal_the_version_in_the_manifest() {
        let parts: Vec<u32> =
            env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap()).collect();
        assert_eq!(parts, [SIDESTEP_VERSION_MAJOR, SIDESTEP_VERSION_MINOR, SIDESTEP_VERSION_PATCH]);
        let number = 1_000_000 * parts[0] + 1000 * parts[1] + parts[2];
        assert_eq!(SIDESTEP_VERSION_NUMBER, number);
        assert_eq!(SIDESTEP_ABI_VERSION, if parts[0] == 0 { parts[1] } else { parts[0] });
    }
}
