//! Which library this is.

use std::ffi::c_char;

/// The version that this header is of: `SIDESTEP_VERSION_NUMBER` is 1000000 * major + 1000 * minor + patch.
pub const SIDESTEP_VERSION_MAJOR: u32 = 0;
/// See `SIDESTEP_VERSION_MAJOR`.
pub const SIDESTEP_VERSION_MINOR: u32 = 1;
/// See `SIDESTEP_VERSION_MAJOR`.
pub const SIDESTEP_VERSION_PATCH: u32 = 0;
/// See `SIDESTEP_VERSION_MAJOR`.
pub const SIDESTEP_VERSION_NUMBER: u32 = 1000;

/// The binary interface that this header is of. Before 1.0 it is the minor version, and the shared library's name has
/// it too.
pub const SIDESTEP_ABI_VERSION: u32 = 1;

/// The version of the library that is loaded, as `SIDESTEP_VERSION_NUMBER` has it.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_version_number() -> u32 {
    SIDESTEP_VERSION_NUMBER
}

/// The version of the library that is loaded, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_version() -> *const c_char {
    const VERSION: &std::ffi::CStr =
        match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no zero byte"),
        };
    VERSION.as_ptr()
}

/// The binary interface of the library that is loaded: equal to `SIDESTEP_ABI_VERSION`, or the program was made for
/// another library. For programs that load it themselves.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_abi_version() -> u32 {
    SIDESTEP_ABI_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_manifest() {
        let parts: Vec<u32> =
            env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap()).collect();
        assert_eq!(parts, [SIDESTEP_VERSION_MAJOR, SIDESTEP_VERSION_MINOR, SIDESTEP_VERSION_PATCH]);
        let number = 1_000_000 * parts[0] + 1000 * parts[1] + parts[2];
        assert_eq!(SIDESTEP_VERSION_NUMBER, number);
        assert_eq!(SIDESTEP_ABI_VERSION, if parts[0] == 0 { parts[1] } else { parts[0] });
    }
}
