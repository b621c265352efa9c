//! The protocol: scripts of single messages that run against both servers and must produce the same responses.

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

/// The results of a script, line by line.
pub(crate) type Transcript = Vec<String>;
type Playing<'a> = Pin<Box<dyn Future<Output = Transcript> + 'a>>;

/// A script, named after the behaviour that it tests.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    play: fn(&mut Side) -> Playing<'_>,
}

/// Creates scripts from the functions of a module.
macro_rules! scripts {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$(Script { name: stringify!($name), play: |side| Box::pin($module::$name(side)) }),*]
    };
}

/// Returns all scripts.
pub(crate) fn all() -> Vec<Script> {
    scripts![
        subscriptions::an_empty_subscription_and_a_star_are_the_same,
        subscriptions::requested_names_are_listed_as_removed,
        subscriptions::a_request_for_single_clusters_gets_all_clusters,
        subscriptions::an_acknowledgement_is_not_answered,
        subscriptions::a_nack_is_not_answered,
        subscriptions::a_repeated_request_is_not_answered,
        subscriptions::a_subscription_on_a_stale_nonce_is_lost,
        subscriptions::a_subscription_in_an_acknowledgement_is_answered,
        subscriptions::subscribing_to_more_names_is_answered_with_only_those,
        subscriptions::unsubscribing_is_not_answered,
        subscriptions::an_unknown_name_gets_an_empty_assignment,
        subscriptions::names_from_an_earlier_stream_that_no_longer_exist_are_removed,
        subscriptions::a_first_request_is_answered_with_any_nonce,
        subscriptions::a_response_with_clusters_is_followed_by_the_subscribed_endpoints,
        subscriptions::a_type_without_content_is_not_answered,
        subscriptions::a_health_report_is_not_answered,
        changes::each_change_pushes_the_affected_resources,
        changes::each_rule_pushes_the_affected_resources,
        changes::a_deleted_service_gets_an_empty_assignment_and_a_recreated_one_its_endpoints,
        changes::a_terminating_endpoint_is_omitted,
        invalid::objects_that_istio_rejects_are_rejected,
        refusals::an_invalid_node_is_rejected,
        refusals::a_node_of_another_account_is_rejected,
        refusals::an_invalid_token_is_rejected_without_a_reason,
        refusals::an_invalid_csr_is_rejected,
        refusals::an_unknown_type_ends_the_stream,
        refusals::a_nack_for_a_type_without_a_subscription_crashes_istiod,
        time::constant_changes_are_not_pushed,
        time::a_connection_ends_after_its_maximum_age_and_grace_period,
    ]
}

impl Script {
    /// Runs the script against both servers and compares the results.
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
