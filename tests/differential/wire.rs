//! What the protocol does: scripts of single messages, played to both servers, whose answers must be the same.

mod changes;
mod invalid;
mod refusals;
mod subscriptions;
mod time;

use std::{path::Path, pin::Pin};

use libtest_mimic::Failed;

use crate::{
    both::{Imitation, Real},
    side::Side,
};

/// What was seen, line by line.
pub(crate) type Transcript = Vec<String>;
type Playing<'a> = Pin<Box<dyn Future<Output = Transcript> + 'a>>;

/// A script and its name: the behaviour that it shows.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    play: fn(&mut Side) -> Playing<'_>,
}

/// Names the functions of a module as scripts.
macro_rules! scripts {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$(Script { name: stringify!($name), play: |side| Box::pin($module::$name(side)) }),*]
    };
}

/// Every script.
pub(crate) fn all() -> Vec<Script> {
    scripts![
        subscriptions::an_empty_subscription_and_a_star_are_the_same,
        subscriptions::names_asked_for_by_name_come_back_as_removed,
        subscriptions::clusters_asked_for_by_name_are_all_sent,
        subscriptions::an_acknowledgement_is_not_answered,
        subscriptions::a_rejection_is_not_answered,
        subscriptions::a_repeated_request_is_not_answered,
        subscriptions::a_subscription_on_a_stale_nonce_is_lost,
        subscriptions::a_subscription_on_an_acknowledgement_counts,
        subscriptions::more_names_are_answered_with_those_alone,
        subscriptions::unsubscribing_is_not_answered,
        subscriptions::a_name_that_means_nothing_is_an_empty_assignment,
        subscriptions::what_was_known_before_and_is_gone_is_removed,
        subscriptions::a_first_request_is_answered_whatever_its_nonce,
        subscriptions::clusters_bring_the_watched_endpoints_along,
        subscriptions::a_type_without_content_is_not_answered,
        subscriptions::a_health_report_is_not_answered,
        changes::each_change_pushes_what_it_touches,
        changes::each_rule_pushes_what_it_touches,
        changes::a_deleted_service_leaves_an_empty_assignment_and_comes_back,
        changes::an_endpoint_that_ends_vanishes,
        invalid::what_istio_refuses_is_refused,
        refusals::a_node_that_cannot_be_read_is_refused,
        refusals::a_node_of_another_account_is_refused,
        refusals::a_token_that_is_not_accepted_is_refused_without_a_reason,
        refusals::a_request_that_cannot_be_signed_is_refused,
        refusals::an_unknown_type_ends_the_stream,
        refusals::a_rejection_of_what_is_not_subscribed_kills_istiod,
        time::constant_changes_are_not_pushed,
        time::an_old_connection_is_ended_after_its_grace,
    ]
}

impl Script {
    /// Plays it to both.
    pub(crate) async fn check(self) -> Result<(), Failed> {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/cases/several-clusters");
        let mut real = Side::Real(Box::new(Real::start(&case, &time::arguments(self.name)).await));
        let imitation = Imitation::start(&case, |builder| time::settings(self.name, builder)).await?;
        let mut imitation = Side::Imitation(Box::new(imitation));
        let (real, imitated) = tokio::join!((self.play)(&mut real), (self.play)(&mut imitation));
        if real == imitated {
            return Ok(());
        }
        let lines = real.len().max(imitated.len());
        let line = |transcript: &[String], index: usize| {
            transcript.get(index).cloned().unwrap_or_else(|| "nothing more".into())
        };
        let different = (0..lines).filter(|index| real.get(*index) != imitated.get(*index));
        let report = different.take(20).map(|index| {
            let (real, imitated) = (line(&real, index), line(&imitated, index));
            format!("line {}\n  istiod:      {real}\n  the sandbox: {imitated}\n", index + 1)
        });
        Err(report.collect::<String>().into())
    }
}
