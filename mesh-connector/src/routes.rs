//! Routes that were found before, for as long as the names and clusters that they were found in are the current ones.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use nds_client::{Cluster, Clusters, NameTable};

use crate::{Error, Host, Target, route::Route};

/// More are forgotten, all together.
const MOST: usize = 4096;

/// Reading is wait-free and allocates nothing.
#[derive(Default)]
pub(crate) struct Routes(ArcSwap<Generation>);

#[derive(Clone, Default)]
struct Generation {
    of: Option<(Arc<NameTable>, Arc<Clusters>)>,
    known: HashMap<Target, Destination>,
}

/// A cluster, and the name of its endpoints in EDS.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) eds_name: Option<Arc<str>>,
}

impl Destination {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { eds_name: cluster.eds_name().map(Into::into), cluster }
    }
}

impl Routes {
    /// Routes a target, by `find` where that has not been done over these snapshots. An address is routed anew each time:
    /// which name was last resolved to it is in neither of them.
    pub(crate) fn get(
        &self,
        target: &Target,
        names: &Arc<NameTable>,
        clusters: &Arc<Clusters>,
        find: impl FnOnce() -> Result<Route, Error>,
    ) -> Result<Option<Destination>, Error> {
        let by_name = matches!(target.host(), Host::Name(_));
        let generation = self.0.load();
        if by_name
            && generation.is_of(names, clusters)
            && let Some(known) = generation.known.get(target)
        {
            return Ok(Some(known.clone()));
        }
        drop(generation);
        let Route::Service(cluster) = find()? else {
            return Ok(None);
        };
        let destination = Destination::new(cluster);
        if by_name {
            self.0.rcu(|generation| {
                let mut generation = match generation.is_of(names, clusters) {
                    true if generation.known.len() < MOST => Generation::clone(generation),
                    _ => Generation { of: Some((names.clone(), clusters.clone())), known: HashMap::new() },
                };
                generation.known.insert(target.clone(), destination.clone());
                generation
            });
        }
        Ok(Some(destination))
    }
}

impl Generation {
    fn is_of(&self, names: &Arc<NameTable>, clusters: &Arc<Clusters>) -> bool {
        self.of.as_ref().is_some_and(|of| Arc::ptr_eq(&of.0, names) && Arc::ptr_eq(&of.1, clusters))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("known", &self.0.load().known.len()).finish_non_exhaustive()
    }
}
