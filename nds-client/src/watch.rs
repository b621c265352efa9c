//! Values with one writer and many readers that can load them or wait for a change.

pub use crate::{
    subscriptions::EndpointsWatch,
    watched::{Ref, Watch, WatchSender},
};
