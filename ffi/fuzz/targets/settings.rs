//! Arbitrary keys and values of settings: texts that end with a zero byte, alternately a key and a value.
#![no_main]

use std::{ffi::CStr, ptr};

use sidestep::{error::*, settings::*, status::*};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut settings = ptr::null_mut();
    // SAFETY: a valid output.
    assert_eq!(unsafe { sidestep_settings_new(&mut settings, ptr::null_mut()) }, SIDESTEP_OK);
    let texts = bytes.split_inclusive(|byte| *byte == 0);
    let texts: Vec<_> = texts.filter_map(|text| CStr::from_bytes_with_nul(text).ok()).collect();
    for pair in texts.chunks_exact(2) {
        let mut error = ptr::null_mut();
        // SAFETY: valid texts and a valid output.
        let status = unsafe { sidestep_settings_set(settings, pair[0].as_ptr(), pair[1].as_ptr(), &mut error) };
        assert_eq!(error.is_null(), status == SIDESTEP_OK);
        if status != SIDESTEP_OK {
            let is_utf8 = pair.iter().all(|text| text.to_str().is_ok());
            assert_eq!(status, if is_utf8 { SIDESTEP_E_INVALID_ARGUMENT } else { SIDESTEP_E_INVALID_UTF8 });
            // SAFETY: the message is valid until the error is freed.
            let message = unsafe { CStr::from_ptr(sidestep_error_message(error)) };
            assert!(!message.is_empty() && !message.to_bytes().iter().any(u8::is_ascii_control));
            assert_eq!(sidestep_error_free(error), SIDESTEP_OK);
        }
    }
    assert_eq!(sidestep_settings_free(settings), SIDESTEP_OK);
});
