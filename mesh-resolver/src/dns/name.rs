//! Names in wire format (RFC 1035 §3.1, §4.1.4).

#[cfg(all(feature = "listener", unix))]
use crate::name::MAX_NAME;

/// Returns the position after the name that starts at `at`; `None` if the name is malformed. Compression pointers are
/// not followed.
pub(super) fn skip(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + len,
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
}

/// Reads the name of a question as a name table key: in lower case and without the trailing dot. Returns the length of
/// the key and the position after the name in the message; `None` if the name is malformed. A byte that no table key
/// contains is replaced by a placeholder, so that only wildcard entries match the name.
#[cfg(all(feature = "listener", unix))]
pub(super) fn read(message: &[u8], mut at: usize, name: &mut [u8; MAX_NAME]) -> Option<(usize, usize)> {
    let mut end = 0;
    loop {
        let len = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + len)?;
        at += 1 + len;
        // A compression pointer is invalid in the first name of a message. A length above 63 means a pointer or one of
        // two label types that were never assigned.
        if len > 63 {
            return None;
        }
        if len == 0 {
            return Some((end, at));
        }
        if end > 0 {
            *name.get_mut(end)? = b'.';
            end += 1;
        }
        let text = name.get_mut(end..end + len)?;
        for (to, from) in text.iter_mut().zip(label) {
            *to = plain(*from);
        }
        end += len;
    }
}

#[cfg(all(feature = "listener", unix))]
fn plain(byte: u8) -> u8 {
    match byte {
        b'.' | b'\\' | 0..=b' ' | 0x7f.. => 0x7f,
        _ => byte.to_ascii_lowercase(),
    }
}
