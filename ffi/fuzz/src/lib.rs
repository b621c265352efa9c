//! What calls of the C library are made of: handles of all kinds, texts, numbers, and places for what comes back.

mod texts;

use std::{
    ffi::{CString, c_char, c_void},
    ptr,
};

use libfuzzer_sys::arbitrary::Unstructured;
use sidestep::{
    error::{sidestep_error, sidestep_error_code, sidestep_error_free, sidestep_error_message},
    status::{SIDESTEP_AGAIN, SIDESTEP_OK, SIDESTEP_PANIC, sidestep_status},
};

/// One run: an input, and what the calls before have given.
pub struct Run<'a> {
    input: Unstructured<'a>,
    /// Freed ones stay, to be used again.
    pub handles: Vec<*mut c_void>,
    texts: Vec<CString>,
}

impl<'a> Run<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { input: Unstructured::new(bytes), handles: Vec::new(), texts: Vec::new() }
    }

    /// Which call is next, out of so many. `None`: the input is at its end.
    pub fn next(&mut self, calls: u8) -> Option<u8> {
        (!self.input.is_empty()).then(|| self.input.int_in_range(0..=calls - 1).unwrap_or_default())
    }

    pub fn yes(&mut self) -> bool {
        self.input.arbitrary().unwrap_or_default()
    }

    pub fn number<N: for<'b> libfuzzer_sys::arbitrary::Arbitrary<'b> + Default>(&mut self) -> N {
        self.input.arbitrary().unwrap_or_default()
    }

    /// For calls that wait: short ones.
    pub fn moment(&mut self) -> i64 {
        self.one_of(&[0, 1, -1, i64::MIN])
    }

    /// For calls that do not.
    pub fn time(&mut self) -> i64 {
        let any = self.number();
        self.one_of(&[0, 1, -1, i64::MIN, i64::MAX, any])
    }

    pub fn how(&mut self) -> u32 {
        let any = self.number();
        self.one_of(&[0, 1, 2, 3, 16, 17, 0x100, 0x200, 0x302, any])
    }

    pub fn one_of<T: Copy>(&mut self, choice: &[T]) -> T {
        *self.input.choose(choice).unwrap_or(&choice[0])
    }

    /// A handle, live or freed, of whatever kind; or none at all.
    pub fn handle<C>(&mut self) -> *mut C {
        let on_stack = 0_u64;
        let like_one = 0x51DE << 48 | self.number::<u64>() >> 16 | 1;
        let stray = [0, 1, 2, u64::MAX, ptr::addr_of!(on_stack) as u64, like_one];
        let last = self.handles.len() + stray.len() - 1;
        let index = self.input.int_in_range(0..=last).unwrap_or_default();
        match self.handles.get(index) {
            Some(handle) => handle.cast(),
            None => stray[index - self.handles.len()] as usize as *mut C,
        }
    }

    /// A host, a service, a key: whatever bytes.
    pub fn text(&mut self) -> *const c_char {
        let text = match self.number::<u8>() {
            0..64 => return ptr::null(),
            64..192 => texts::known(&mut self.input),
            _ => texts::any(&mut self.input),
        };
        self.kept(text)
    }

    /// A text that cannot lead out of here, as a path or an address of raw bytes could.
    pub fn harmless(&mut self) -> *const c_char {
        if self.number::<u8>() < 32 {
            return ptr::null();
        }
        let text = texts::known(&mut self.input);
        self.kept(text)
    }

    pub fn kept(&mut self, text: CString) -> *const c_char {
        self.texts.push(text);
        self.texts[self.texts.len() - 1].as_ptr()
    }

    /// Keeps what a call has given, after looking at what it has said.
    pub fn given<C>(&mut self, given: Option<*mut C>, told: bool) {
        let given = given.unwrap_or(ptr::null_mut());
        assert!(told || given.is_null(), "a call that fails gives nothing");
        if !given.is_null() {
            self.handles.push(given.cast());
        }
    }

    /// Makes a call with a place for an error, or without, and looks at what it says. Whether it worked.
    pub fn call(&mut self, call: impl FnOnce(*mut *mut sidestep_error) -> sidestep_status) -> bool {
        // What was there before is overwritten, and never followed.
        let mut error = ptr::without_provenance_mut::<sidestep_error>(0x5_1DE0);
        let place = if self.yes() { &raw mut error } else { ptr::null_mut() };
        let status = call(place);
        assert_ne!(status, SIDESTEP_PANIC);
        if !place.is_null() {
            let silent = status == SIDESTEP_OK || status == SIDESTEP_AGAIN;
            assert_eq!(error.is_null(), silent, "status {status}");
            if !silent {
                assert_eq!(sidestep_error_code(error), status);
                assert!(!sidestep_error_message(error).is_null());
                assert_eq!(sidestep_error_free(error), SIDESTEP_OK);
                assert_ne!(sidestep_error_free(error), SIDESTEP_OK);
            }
        }
        status == SIDESTEP_OK
    }

    /// A place for a result, or none.
    pub fn place<T>(&mut self, value: &mut Option<T>, before: T) -> *mut T {
        if self.number::<u8>() < 16 {
            return ptr::null_mut();
        }
        value.insert(before)
    }
}
