//! A handle to the endpoints of one EDS name.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use tokio::time::Instant;

use super::{Subscriptions, table::Usage};
use crate::{resources::endpoint::Endpoints, watched::Watch};

/// The endpoints of one EDS name: `None` before the first push, afterwards the last valid ones.
///
/// [`current`](Self::current) marks the endpoints as used. Endpoints that are not used for some time
/// ([`ConfigBuilder::with_idle_endpoints`](crate::ConfigBuilder::with_idle_endpoints)) are dropped: the subscription
/// ends and the value is `None` until the next use subscribes again. Clones read the same value. Each clone tracks
/// separately which changes it has seen.
#[derive(Clone)]
pub struct EndpointsWatch {
    endpoints: Watch<Option<Arc<Endpoints>>>,
    subscription: Subscription,
}

#[derive(Clone)]
struct Subscription {
    name: Arc<str>,
    usage: Arc<Usage>,
    /// The time at which the client started.
    begin: Instant,
    all: Weak<Subscriptions>,
}

impl EndpointsWatch {
    pub(crate) fn new(all: &Arc<Subscriptions>, name: &str) -> Self {
        let (name, endpoints, usage) = all.subscribe_endpoints(name);
        let subscription = Subscription { name, usage, begin: all.begin(), all: Arc::downgrade(all) };
        Self { endpoints, subscription }
    }

    /// Returns the EDS name.
    #[must_use]
    pub fn eds_name(&self) -> &str {
        &self.subscription.name
    }

    /// Returns the current endpoints; `None` if istiod has not sent any for this subscription. Marks the endpoints as
    /// used, and subscribes again if they were dropped. The method is wait-free while the subscription exists.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Endpoints>> {
        self.subscription.touch();
        self.endpoints.current()
    }

    /// Returns the current endpoints as [`current`](Self::current) does, without marking them as used. The method is
    /// wait-free.
    #[must_use]
    pub fn peek(&self) -> Option<Arc<Endpoints>> {
        self.endpoints.current()
    }

    /// Returns a number that changes when endpoints are published or dropped, as [`Watch::version`] does. The call does
    /// not mark the endpoints as used.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.endpoints.version()
    }

    /// Returns whether this client is subscribed to the endpoints; the subscription ends when they are dropped. The
    /// call does not mark them as used.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.subscription.usage.is_subscribed()
    }

    /// Waits for a change that this handle has not seen: until endpoints are published or dropped. Marks the change as
    /// seen. Returns `false` if the client is gone, so that no further change is possible. Does not mark the endpoints
    /// as used.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> bool {
        self.endpoints.changed().await
    }

    /// Waits until the endpoints satisfy `condition` and returns them. Returns `None` if the client is gone before
    /// that. Marks the endpoints as used at the call and at each change.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&Endpoints) -> bool,
    ) -> Option<Arc<Endpoints>> {
        let Self { endpoints, subscription } = self;
        let found = endpoints.wait_for(|endpoints| {
            subscription.touch();
            endpoints.as_deref().is_some_and(&mut condition)
        });
        found.await.and_then(|found| (*found).clone())
    }
}

impl Subscription {
    fn touch(&self) {
        self.usage.touch(self.begin.elapsed().as_secs());
        if !self.usage.is_subscribed()
            && let Some(all) = self.all.upgrade()
        {
            all.subscribe_endpoints(&self.name);
        }
    }
}

impl fmt::Debug for EndpointsWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndpointsWatch").field(&self.subscription.name).field(&*self.endpoints.load()).finish()
    }
}
