//! Arguments from C: output pointers, texts, buffers and timeouts.

use std::{
    ffi::{CStr, CString, c_char},
    mem::MaybeUninit,
    ptr,
    time::Duration,
};

use crate::{
    failure::Failure,
    status::{SIDESTEP_E_INVALID_ARGUMENT, SIDESTEP_E_INVALID_UTF8, SIDESTEP_E_NULL_POINTER},
};

/// The maximum length of a text argument in bytes. A longer text is an invalid argument.
const MAX_TEXT: usize = 64 * 1024;

/// An output pointer that the C caller passed. It is not NULL.
pub(crate) struct Out<'a, T>(&'a mut T);

impl<'a, T> Out<'a, T> {
    /// Writes `initial` to an optional output of a call. Returns `None` if the pointer is NULL.
    ///
    /// # Safety
    ///
    /// `pointer` is NULL, or valid for writes during the call.
    pub(crate) unsafe fn optional(pointer: *mut T, initial: T) -> Option<Self> {
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the pointer is valid for writes. `write` does not read the old value, which may be uninitialised.
        unsafe { pointer.write(initial) };
        // SAFETY: the pointer is valid, and the value was initialised in the line above.
        Some(Self(unsafe { &mut *pointer }))
    }

    /// Writes `initial` to a required output of a call. A NULL pointer is a failure that names the argument `name`.
    ///
    /// # Safety
    ///
    /// The same as [`optional`](Self::optional).
    pub(crate) unsafe fn required(pointer: *mut T, initial: T, name: &str) -> Result<Self, Failure> {
        // SAFETY: the caller upholds the requirements of `optional`.
        unsafe { Self::optional(pointer, initial) }.ok_or_else(|| null(name))
    }

    pub(crate) fn set(self, value: T) {
        *self.0 = value;
    }
}

impl<T> Out<'_, *mut T> {
    /// Writes NULL to the output for an error object. Returns `None` if `pointer` is NULL, because this output is
    /// optional.
    ///
    /// # Safety
    ///
    /// The same as [`optional`](Self::optional).
    pub(crate) unsafe fn error(pointer: *mut *mut T) -> Option<Self> {
        // SAFETY: the caller upholds the requirements of `optional`.
        unsafe { Self::optional(pointer, ptr::null_mut()) }
    }
}

fn null(name: &str) -> Failure {
    Failure::new(SIDESTEP_E_NULL_POINTER, format!("{name} is NULL"))
}

/// Returns the text of the argument `name`. A NULL pointer is a failure.
///
/// # Safety
///
/// `text` is NULL, or terminated by a zero byte and unchanged during the call.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller upholds the requirements of `optional_text`.
    unsafe { optional_text(text, name) }?.ok_or_else(|| null(name))
}

/// Returns the text of the argument `name`, or `None` for a NULL pointer.
///
/// # Safety
///
/// The same as [`text`].
pub(crate) unsafe fn optional_text<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller guarantees that the text is terminated and does not change.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    if bytes.len() > MAX_TEXT {
        let message = format!("the argument {name} has {} bytes; the maximum is {MAX_TEXT}", bytes.len());
        return Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message));
    }
    str::from_utf8(bytes).map(Some).map_err(|error| {
        let text = String::from_utf8_lossy(bytes);
        let message = format!("{name} `{}` is not UTF-8: {error}", text.escape_debug());
        Failure::new(SIDESTEP_E_INVALID_UTF8, message)
    })
}

/// Returns the `length` bytes at `data` as a buffer to read from. NULL is an empty buffer if `length` is 0, and a
/// failure for any other length.
///
/// # Safety
///
/// `data` is NULL, or points to `length` bytes that do not change during the call.
pub(crate) unsafe fn bytes<'a>(data: *const u8, length: usize) -> Result<&'a [u8], Failure> {
    match (data.is_null(), checked_length(length)?) {
        (true, 0) => Ok(&[]),
        (true, _) => Err(null("the buffer")),
        // SAFETY: the caller guarantees the bytes, and a slice can have this length.
        (false, length) => Ok(unsafe { std::slice::from_raw_parts(data, length) }),
    }
}

/// Returns the `length` bytes at `data` as a buffer to write to. NULL is an empty buffer if `length` is 0, and a
/// failure for any other length.
///
/// # Safety
///
/// `data` is NULL, or points to `length` bytes that no other code uses during the call.
pub(crate) unsafe fn bytes_mut<'a>(
    data: *mut u8,
    length: usize,
) -> Result<&'a mut [MaybeUninit<u8>], Failure> {
    match (data.is_null(), checked_length(length)?) {
        (true, 0) => Ok(&mut []),
        (true, _) => Err(null("the buffer")),
        // SAFETY: the caller guarantees the bytes, and a slice can have this length.
        (false, length) => Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), length) }),
    }
}

/// Returns `length`. Fails if `length` exceeds `isize::MAX`, the maximum length of a Rust slice in bytes.
fn checked_length(length: usize) -> Result<usize, Failure> {
    if isize::try_from(length).is_ok() {
        return Ok(length);
    }
    let message = format!("the buffer size {length} is larger than the address space");
    Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message))
}

/// Converts the argument `timeout_ms` of a call to a duration. Returns `None` for a negative number, whose meaning
/// depends on the call: no limit, or the timeout in a setting.
pub(crate) fn timeout(milliseconds: i64) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// Converts a text to a C string. Zero bytes in the text become spaces, because a zero byte ends a C string.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).or_else(|_| CString::new(text.replace('\0', " "))).unwrap_or_default()
}

/// Returns a pointer to a text that belongs to a handle, or NULL for `None`.
pub(crate) fn pointer(text: Option<&CStr>) -> *const c_char {
    text.map_or(ptr::null(), CStr::as_ptr)
}
