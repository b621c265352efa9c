//! What C points to.

use std::{
    ffi::{CStr, CString, c_char},
    mem::MaybeUninit,
    ptr,
    time::Duration,
};

use crate::{
    failure::Failure,
    status::{SIDESTEP_INVALID_ARGUMENT, SIDESTEP_INVALID_UTF8, SIDESTEP_NULL_POINTER},
};

/// No host, path or value is longer.
const LONGEST: usize = 64 * 1024;

/// A place of the caller's for a result.
pub(crate) struct Out<'a, T>(&'a mut T);

impl<'a, T> Out<'a, T> {
    /// The place, filled with `nothing` for the time being; `None` where the caller wants no result.
    ///
    /// # Safety
    ///
    /// NULL, or valid for writes as long as the call lasts.
    pub(crate) unsafe fn optional(place: *mut T, nothing: T) -> Option<Self> {
        if place.is_null() {
            return None;
        }
        // SAFETY: the caller's promise. Nothing is read that the caller may not have written.
        unsafe { place.write(nothing) };
        // SAFETY: as above, and written just now.
        Some(Self(unsafe { &mut *place }))
    }

    /// The same for a result that there has to be a place for.
    ///
    /// # Safety
    ///
    /// That of [`optional`](Self::optional).
    pub(crate) unsafe fn required(place: *mut T, nothing: T, what: &str) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        unsafe { Self::optional(place, nothing) }.ok_or_else(|| null(what))
    }

    pub(crate) fn set(self, value: T) {
        *self.0 = value;
    }
}

impl<T> Out<'_, *mut T> {
    /// The place of an error object.
    ///
    /// # Safety
    ///
    /// That of [`optional`](Self::optional).
    pub(crate) unsafe fn error(place: *mut *mut T) -> Option<Self> {
        // SAFETY: the caller's promise.
        unsafe { Self::optional(place, ptr::null_mut()) }
    }
}

fn null(what: &str) -> Failure {
    Failure::new(SIDESTEP_NULL_POINTER, format!("{what} is NULL"))
}

/// A text.
///
/// # Safety
///
/// NULL, or terminated by a zero byte and unchanged as long as the call lasts.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    unsafe { optional_text(text, what) }?.ok_or_else(|| null(what))
}

/// A text, or `None` for NULL.
///
/// # Safety
///
/// That of [`text`].
pub(crate) unsafe fn optional_text<'a>(text: *const c_char, what: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    if bytes.len() > LONGEST {
        let message = format!("{what} has {} bytes: none has more than {LONGEST}", bytes.len());
        return Err(Failure::new(SIDESTEP_INVALID_ARGUMENT, message));
    }
    str::from_utf8(bytes).map(Some).map_err(|error| {
        let text = String::from_utf8_lossy(bytes);
        let message = format!("{what} `{}` is not UTF-8: {error}", text.escape_debug());
        Failure::new(SIDESTEP_INVALID_UTF8, message)
    })
}

/// A buffer to read from.
///
/// # Safety
///
/// NULL, or so many bytes that do not change as long as the call lasts.
pub(crate) unsafe fn bytes<'a>(data: *const u8, length: usize) -> Result<&'a [u8], Failure> {
    match (data.is_null(), fits(length)?) {
        (true, 0) => Ok(&[]),
        (true, _) => Err(null("the buffer")),
        // SAFETY: the caller's promise, and the length is one that a slice may have.
        (false, length) => Ok(unsafe { std::slice::from_raw_parts(data, length) }),
    }
}

/// A buffer to write to.
///
/// # Safety
///
/// NULL, or so many bytes that nobody else uses as long as the call lasts.
pub(crate) unsafe fn bytes_mut<'a>(
    data: *mut u8,
    length: usize,
) -> Result<&'a mut [MaybeUninit<u8>], Failure> {
    match (data.is_null(), fits(length)?) {
        (true, 0) => Ok(&mut []),
        (true, _) => Err(null("the buffer")),
        // SAFETY: the caller's promise, and the length is one that a slice may have.
        (false, length) => Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), length) }),
    }
}

fn fits(length: usize) -> Result<usize, Failure> {
    if isize::try_from(length).is_ok() {
        return Ok(length);
    }
    Err(Failure::new(SIDESTEP_INVALID_ARGUMENT, format!("no buffer has {length} bytes")))
}

/// Milliseconds; `None` for a negative number.
pub(crate) fn timeout(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// A text for C. What is behind a zero byte would not be seen there, so such bytes become spaces.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).or_else(|_| CString::new(text.replace('\0', " "))).unwrap_or_default()
}

/// A text that belongs to a handle, or NULL.
pub(crate) fn pointer(text: Option<&CStr>) -> *const c_char {
    text.map_or(ptr::null(), CStr::as_ptr)
}
