//! The handle to the endpoints under one EDS name.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use tokio::time::Instant;

use super::{Subscriptions, table::Usage};
use crate::{resources::endpoint::Endpoints, watch::Watch};

/// The endpoints under one name of EDS: `None` until istiod has answered, then always the last good ones.
///
/// [`current`](Self::current) keeps the subscription; a handle alone does not. Endpoints that were not used in a while
/// ([`Config::with_idle_endpoints`](crate::Config::with_idle_endpoints)) are dropped: the value is `None` again, and the
/// next use subscribes again. Clones see the same value; each waits for changes on its own.
#[derive(Clone)]
pub struct EndpointsWatch {
    endpoints: Watch<Option<Arc<Endpoints>>>,
    subscription: Subscription,
}

#[derive(Clone)]
struct Subscription {
    name: Arc<str>,
    usage: Arc<Usage>,
    /// When the client began.
    begin: Instant,
    all: Weak<Subscriptions>,
}

impl EndpointsWatch {
    /// Subscribes to a name.
    pub(crate) fn new(all: &Arc<Subscriptions>, name: &str) -> Self {
        let (name, endpoints, usage) = all.subscribe_endpoints(name);
        let subscription = Subscription { name, usage, begin: all.begin(), all: Arc::downgrade(all) };
        Self { endpoints, subscription }
    }

    /// The name under which EDS has these endpoints.
    #[must_use]
    pub fn eds_name(&self) -> &str {
        &self.subscription.name
    }

    /// The current endpoints, if there are any. Counts as use, and subscribes again where the subscription was dropped.
    /// Wait-free while the subscription lasts.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Endpoints>> {
        self.subscription.touch();
        self.endpoints.current()
    }

    /// The current endpoints, if there are any. Does not count as use. Wait-free.
    #[must_use]
    pub fn peek(&self) -> Option<Arc<Endpoints>> {
        self.endpoints.current()
    }

    /// Whether istiod is asked for these endpoints. `false` after they were dropped because nobody used them. Does not
    /// count as use.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        self.subscription.usage.is_subscribed()
    }

    /// Waits until endpoints are published, or dropped, that this handle has not seen, and marks them as seen. `false`
    /// when no further ones can come, because the client is gone. Does not count as use.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> bool {
        self.endpoints.changed().await
    }

    /// Waits for endpoints that satisfy `condition`, and returns them. `None` when the client is gone before that. Counts
    /// as use at its begin and at each change.
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
