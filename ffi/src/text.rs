//! Text objects, in which the library returns explanations, metrics and health.

use std::ffi::{CString, c_char};

use crate::{
    arguments::{c_string, pointer},
    failure::Failure,
    handle::{self, Kind},
    status::sidestep_status,
};

/// A text that the library returns: an explanation, metrics or health.
#[derive(Debug)]
pub struct sidestep_text(());

pub(crate) struct Text(CString);

impl Kind for Text {
    type C = sidestep_text;
    const TAG: u8 = 2;
    const NAME: &'static str = "sidestep_text";
    const MANY: usize = 10_000;
}

pub(crate) fn create(text: &str) -> Result<*mut sidestep_text, Failure> {
    handle::create(Text(c_string(text)))
}

/// Returns the characters of a text, terminated by a zero byte. They belong to `text`. Returns NULL if `text` is not a valid
/// handle.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_text_get(text: *const sidestep_text) -> *const c_char {
    handle::read(text, pointer(None), |text: &Text| pointer(Some(&text.0)))
}

/// Frees a text. Does nothing if `text` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_text_free(text: *mut sidestep_text) -> sidestep_status {
    handle::free::<Text>(text)
}
