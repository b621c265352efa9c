//! Names on the wire: RFC 1035 §3.1, §4.1.4.

#[cfg(all(feature = "listener", unix))]
use crate::name::MAX_NAME;

/// Where the name at `at` ends. Pointers are not followed: what they point at does not matter here.
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

/// Reads the name of a question in the form of name tables, lower-case and without the trailing dot. Gives its length, and
/// where it ends in the message. A byte that no table has in a name is replaced by another such byte, so that only
/// wildcards cover it.
#[cfg(all(feature = "listener", unix))]
pub(super) fn read(message: &[u8], mut at: usize, name: &mut [u8; MAX_NAME]) -> Option<(usize, usize)> {
    let mut end = 0;
    loop {
        let len = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + len)?;
        at += 1 + len;
        // No pointer is valid in the first name of a message; the other two kinds of label were never assigned.
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
