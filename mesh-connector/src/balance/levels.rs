//! The load of each priority (Envoy `LoadBalancerBase::recalculatePerPriorityState` and its callees).

use std::collections::BTreeMap;

use super::{Candidate, HostHealth};

/// Envoy's overprovisioning factor, in percent.
pub(super) const OVERPROVISIONING: f64 = 140.0;

/// The numbers of endpoints and the load of one priority.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) priority: u32,
    all: f64,
    healthy: f64,
    degraded: f64,
    pub(super) panic: bool,
    /// The share of connections, from 0 to 1, that go to the healthy endpoints of the priority. In panic mode, they go
    /// to all its endpoints.
    pub(super) load: f64,
    pub(super) degraded_load: f64,
}

/// Returns one level for each priority of the candidates, ordered by priority. `panic_threshold` is a percentage.
pub(super) fn levels(candidates: &[Candidate], panic_threshold: f64) -> Vec<Level> {
    let mut levels: BTreeMap<u32, Level> = BTreeMap::new();
    for candidate in candidates {
        let level = levels.entry(candidate.priority).or_insert_with(|| Level::empty(candidate.priority));
        level.all += 1.0;
        match candidate.health {
            HostHealth::Healthy => level.healthy += 1.0,
            HostHealth::Degraded => level.degraded += 1.0,
            HostHealth::Unhealthy => {}
        }
    }
    let mut levels: Vec<_> = levels.into_values().collect();
    let available = |count: f64, all: f64| (OVERPROVISIONING * count / all).min(100.0);
    let sum = |level: &Level| available(level.healthy, level.all) + available(level.degraded, level.all);
    let total = levels.iter().map(sum).sum::<f64>().min(100.0);
    for level in &mut levels {
        let usable = (level.healthy + level.degraded) / level.all * 100.0;
        level.panic = total < 100.0 && usable < panic_threshold;
    }
    if levels.iter().all(|level| level.panic) {
        let hosts: f64 = levels.iter().map(|level| level.all).sum();
        levels.iter_mut().for_each(|level| level.load = level.all / hosts);
        return levels;
    }
    let mut left = 100.0;
    let mut take = |count: f64, all: f64| {
        let load = if total > 0.0 { (available(count, all) * 100.0 / total).min(left) } else { 0.0 };
        left -= load;
        load / 100.0
    };
    levels.iter_mut().for_each(|level| level.load = take(level.healthy, level.all));
    levels.iter_mut().for_each(|level| level.degraded_load = take(level.degraded, level.all));
    for level in levels.iter_mut().filter(|level| level.panic) {
        level.load += std::mem::take(&mut level.degraded_load);
    }
    levels
}

impl Level {
    fn empty(priority: u32) -> Self {
        let (all, healthy, degraded) = (0.0, 0.0, 0.0);
        Self { priority, all, healthy, degraded, panic: false, load: 0.0, degraded_load: 0.0 }
    }
}
