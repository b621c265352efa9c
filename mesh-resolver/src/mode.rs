//! What of the table's answers is given out: all of it, or for some names something else.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    slice,
    sync::Arc,
};

use crate::lookup::{Answer, Via};

/// Hands out loopback addresses, each of which stands for one mesh name because something listens there that brings
/// connections to it. The mesh connector's bridge is one.
pub trait LocalAddresses: Send + Sync + 'static {
    /// The address that stands for a host; `None` leaves the host to the table. `host` is the canonical name of a
    /// service, and under a wildcard the name that was asked for; lower-case, without a trailing dot.
    ///
    /// It is called at each lookup of a mesh name, on the thread that looks up: it answers from memory.
    fn address(&self, host: &str) -> Option<IpAddr>;
}

/// Says whether a mesh name is of something outside the mesh.
pub(crate) type External = dyn Fn(&str) -> bool + Send + Sync;

/// The answer mode of a resolver.
#[derive(Clone, Default)]
pub(crate) struct Mode {
    pub(crate) external: Option<Arc<External>>,
    pub(crate) local: Option<Arc<dyn LocalAddresses>>,
}

/// An answer of the table, as it is given out.
pub(crate) struct Given<'a> {
    pub(crate) answer: Answer<'a>,
    local: Option<IpAddr>,
}

impl Mode {
    /// Whether everything is given out as the table has it.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.external.is_none() && self.local.is_none()
    }

    /// `None` where upstream DNS answers instead of the table.
    #[inline]
    pub(crate) fn give<'a>(&self, answer: Answer<'a>, question: &str) -> Option<Given<'a>> {
        if self.is_plain() {
            return Some(Given { answer, local: None });
        }
        self.give_instead(answer, question)
    }

    #[cold]
    fn give_instead<'a>(&self, answer: Answer<'a>, question: &str) -> Option<Given<'a>> {
        if self.external.as_ref().is_some_and(|external| external(answer.name())) {
            return None;
        }
        let local = match &self.local {
            None => None,
            Some(local) if answer.via() == Via::Wildcard || answer.name().starts_with('*') => {
                local.address(&answer.known(question)?)
            }
            Some(local) => local.address(answer.name()),
        };
        Some(Given { answer, local })
    }
}

impl Given<'_> {
    #[inline]
    pub(crate) fn ipv4(&self) -> &[Ipv4Addr] {
        match &self.local {
            None => self.answer.ipv4(),
            Some(IpAddr::V4(ip)) => slice::from_ref(ip),
            Some(IpAddr::V6(_)) => &[],
        }
    }

    #[inline]
    pub(crate) fn ipv6(&self) -> &[Ipv6Addr] {
        match &self.local {
            None => self.answer.ipv6(),
            Some(IpAddr::V6(ip)) => slice::from_ref(ip),
            Some(IpAddr::V4(_)) => &[],
        }
    }
}
