//! Texts that the library makes.

use std::ffi::{CString, c_char};

use crate::{
    arguments::{c_string, pointer},
    handle::{self, Kind},
    status::sidestep_status,
};

/// A text that the library made: an explanation, metrics, health.
#[derive(Debug)]
pub struct sidestep_text(());

pub(crate) struct Text(CString);

impl Kind for Text {
    type C = sidestep_text;
    const TAG: u8 = 2;
    const NAME: &'static str = "sidestep_text";
}

pub(crate) fn give(text: &str) -> *mut sidestep_text {
    handle::give(Text(c_string(text)))
}

/// The text, terminated by a zero byte. It belongs to `text`. NULL where `text` is none.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_text_get(text: *const sidestep_text) -> *const c_char {
    handle::get::<Text>(text).map_or_else(|_| pointer(None), |text| pointer(Some(&text.0)))
}

/// Frees a text. NULL is nothing to free.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_text_free(text: *mut sidestep_text) -> sidestep_status {
    handle::free::<Text>(text)
}
