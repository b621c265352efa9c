//! The arguments of fuzzed calls: handles, texts, numbers and outputs.

mod texts;

use std::{
    ffi::{CString, c_char, c_void},
    ptr,
};

use libfuzzer_sys::arbitrary::Unstructured;
use sidestep::{
    error::{sidestep_error, sidestep_error_status, sidestep_error_free, sidestep_error_message},
    status::{SIDESTEP_E_AGAIN, SIDESTEP_OK, SIDESTEP_E_PANIC, sidestep_status},
};

/// One run of the fuzzer: its input, and the objects that previous calls have created.
pub struct Run<'a> {
    input: Unstructured<'a>,
    /// The handles, including those that were freed.
    pub handles: Vec<*mut c_void>,
    texts: Vec<CString>,
}

impl<'a> Run<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { input: Unstructured::new(bytes), handles: Vec::new(), texts: Vec::new() }
    }

    /// Chooses the next of `calls` calls. Returns `None` at the end of the input.
    pub fn next(&mut self, calls: u8) -> Option<u8> {
        (!self.input.is_empty()).then(|| self.input.int_in_range(0..=calls - 1).unwrap_or_default())
    }

    pub fn yes(&mut self) -> bool {
        self.input.arbitrary().unwrap_or_default()
    }

    pub fn number<N: for<'b> libfuzzer_sys::arbitrary::Arbitrary<'b> + Default>(&mut self) -> N {
        self.input.arbitrary().unwrap_or_default()
    }

    /// Returns a timeout for a call that blocks. Waiting is short, because the mesh has short default timeouts.
    pub fn blocking_timeout(&mut self) -> i64 {
        self.one_of(&[0, 1, -1, i64::MIN])
    }

    /// Returns a timeout for a call that does not block.
    pub fn timeout(&mut self) -> i64 {
        let any = self.number();
        self.one_of(&[0, 1, -1, i64::MIN, i64::MAX, any])
    }

    pub fn flags(&mut self) -> u32 {
        let any = self.number();
        self.one_of(&[0, 1, 2, 3, 16, 17, 0x100, 0x200, 0x302, any])
    }

    pub fn one_of<T: Copy>(&mut self, choice: &[T]) -> T {
        *self.input.choose(choice).unwrap_or(&choice[0])
    }

    /// Returns a handle of any type, which may be freed, or a value that is not a handle.
    pub fn handle<C>(&mut self) -> *mut C {
        let on_stack = 0_u64;
        let similar = 0x51DE << 48 | self.number::<u64>() >> 16 | 1;
        let stray = [0, 1, 2, u64::MAX, ptr::addr_of!(on_stack) as u64, similar];
        let last = self.handles.len() + stray.len() - 1;
        let index = self.input.int_in_range(0..=last).unwrap_or_default();
        match self.handles.get(index) {
            Some(handle) => handle.cast(),
            None => stray[index - self.handles.len()] as usize as *mut C,
        }
    }

    /// Returns any text, for example for a host or a service.
    pub fn text(&mut self) -> *const c_char {
        let text = match self.number::<u8>() {
            0..64 => return ptr::null(),
            64..192 => texts::known(&mut self.input),
            _ => texts::any(&mut self.input),
        };
        self.store(text)
    }

    /// Returns a known text, for arguments with which arbitrary bytes could access files or the network.
    pub fn harmless(&mut self) -> *const c_char {
        if self.number::<u8>() < 32 {
            return ptr::null();
        }
        let text = texts::known(&mut self.input);
        self.store(text)
    }

    /// Stores a text until the end of the run.
    pub fn store(&mut self, text: CString) -> *const c_char {
        self.texts.push(text);
        self.texts[self.texts.len() - 1].as_ptr()
    }

    /// Checks and stores the handle that a call has created.
    pub fn created<C>(&mut self, created: Option<*mut C>, succeeded: bool) {
        let created = created.unwrap_or(ptr::null_mut());
        assert!(succeeded || created.is_null(), "a call that fails creates nothing");
        if !created.is_null() {
            self.handles.push(created.cast());
        }
    }

    /// Makes a call with or without an output for the error, and checks the error. Returns whether the call succeeded.
    pub fn call(&mut self, call: impl FnOnce(*mut *mut sidestep_error) -> sidestep_status) -> bool {
        // An invalid value, which the call must overwrite.
        let mut error = ptr::without_provenance_mut::<sidestep_error>(0x5_1DE0);
        let output = if self.yes() { &raw mut error } else { ptr::null_mut() };
        let status = call(output);
        assert_ne!(status, SIDESTEP_E_PANIC);
        if !output.is_null() {
            let without_error = status == SIDESTEP_OK || status == SIDESTEP_E_AGAIN;
            assert_eq!(error.is_null(), without_error, "status {status}");
            if !without_error {
                assert_eq!(sidestep_error_status(error), status);
                assert!(!sidestep_error_message(error).is_null());
                assert_eq!(sidestep_error_free(error), SIDESTEP_OK);
                assert_ne!(sidestep_error_free(error), SIDESTEP_OK);
            }
        }
        status == SIDESTEP_OK
    }

    /// Returns an output that contains `initial`, or NULL.
    pub fn output<T>(&mut self, value: &mut Option<T>, initial: T) -> *mut T {
        if self.number::<u8>() < 16 {
            return ptr::null_mut();
        }
        value.insert(initial)
    }
}
