//! Sidestep against a real istiod, a real east-west gateway (Istio's agent and Envoy) and workloads with certificates
//! of the real CA. `tests/peers/build.sh` builds them; where they are missing, these tests are ignored, unless
//! `SIDESTEP_PEERS=required` makes that a failure.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod bridge;
mod c_library;
mod common;
mod control_plane;
mod data_plane;
mod dns;
mod external;
mod identity;
mod load;
mod outside;
mod policies;
mod programs;
mod sidecar;
mod state_dir;

use std::{pin::Pin, process::ExitCode, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};
use mesh_tests::peers;

/// No test takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Names the functions of a module as tests.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), || Box::pin($module::$name()))),*]
    };
}

const ALL: &[Test] = &tests![
    bridge::http_clients_reach_the_workload_through_the_proxy_and_a_loopback_address,
    bridge::raw_bytes_pass_a_unix_socket_and_socks_with_both_directions_ending_apart,
    bridge::a_connection_through_the_gateway_is_explained_with_the_identity_it_found,
    bridge::a_reset_of_the_gateway_is_explained_by_what_may_have_caused_it,
    bridge::tls_by_a_credential_name_is_refused_and_disable_is_plaintext,
    c_library::c_and_cpp_reach_a_sidecar_through_the_gateway,
    c_library::libcurl_reaches_a_sidecar_through_the_gateway_in_each_way,
    c_library::libpq_reaches_a_database_behind_a_sidecar_through_the_gateway,
    c_library::python_go_and_java_reach_a_sidecar_through_the_gateway,
    control_plane::a_vm_gets_a_certificate_and_its_names_clusters_and_endpoints,
    control_plane::istiod_is_found_in_each_way_that_vm_files_can_name_it,
    control_plane::istiod_is_reached_through_an_east_west_gateway,
    control_plane::a_vm_that_names_no_network_is_sent_through_the_gateways,
    control_plane::a_name_that_is_added_and_deleted_while_it_runs_is_seen,
    control_plane::names_stay_while_istiod_is_gone_and_follow_it_when_it_is_back,
    control_plane::a_certificate_is_renewed_many_times_by_the_certificate_before_it,
    control_plane::a_lifetime_above_the_maximum_is_asked_again_as_the_default,
    control_plane::a_refused_token_is_explained_by_its_own_claims,
    control_plane::a_root_that_is_not_istiods_is_named,
    control_plane::an_identity_of_another_namespace_is_refused_by_the_stream,
    control_plane::an_istiod_that_is_not_there_is_named_when_the_time_is_over,
    control_plane::forced_reconnects_leave_no_error_behind,
    data_plane::a_call_goes_through_the_gateway_to_the_workload_that_is_expected,
    data_plane::calls_are_spread_over_the_gateways_of_both_networks,
    data_plane::a_workload_with_another_identity_is_refused_and_both_names_are_told,
    data_plane::http2_is_negotiated_through_the_gateway,
    data_plane::a_raw_stream_through_the_gateway_needs_no_negotiated_protocol,
    data_plane::a_host_that_the_gateway_does_not_expose_is_a_reset_with_its_candidates,
    data_plane::plaintext_goes_where_the_control_plane_says_and_not_where_mtls_is_required,
    data_plane::a_port_that_the_service_does_not_have_is_told_from_the_clusters,
    dns::the_listener_answers_as_istios_agent_does,
    dns::what_is_no_question_is_refused_as_istios_agent_does,
    external::a_host_outside_the_mesh_has_upstreams_answer_unless_it_has_an_address_of_its_own,
    identity::a_vm_that_starts_again_joins_although_its_token_is_long_dead,
    identity::a_restored_certificate_is_renewed_without_the_token,
    identity::a_certificate_of_a_ca_that_is_gone_is_dropped_for_the_token,
    identity::a_certificate_in_files_that_another_process_renews_is_followed,
    identity::roots_that_istiod_pushes_are_trusted_at_once_and_a_rotation_locks_nobody_out,
    load::a_plugged_ca_with_an_intermediate_is_trusted_end_to_end,
    load::a_root_rotation_under_load_fails_no_call,
    load::another_trust_domain_with_an_alias_is_taken_from_the_certificate,
    load::certificates_renewed_many_times_under_load_fail_no_call,
    load::istiod_restarted_under_load_fails_no_call,
    load::an_expired_certificate_is_replaced_by_way_of_the_token,
    load::a_vm_that_starts_while_istiod_is_down_calls_by_its_snapshot,
    load::several_thousand_services_arrive_as_one_message_and_are_all_known,
    outside::the_outbound_policy_comes_with_all_listeners_or_with_the_routes_of_a_port_that_nobody_has,
    policies::a_proxy_protocol_header_comes_first_where_a_rule_asks_for_it,
    policies::a_rules_limit_of_connections_and_its_keepalive_hold,
    policies::endpoints_come_in_turn_and_one_that_fails_is_ejected_as_the_rule_says,
    policies::with_too_few_left_ejected_endpoints_are_asked_again,
    policies::a_rules_warm_up_and_the_life_of_its_connections_are_read,
    policies::a_service_without_endpoints_of_its_own_is_dialled_where_it_was_asked_for_at_its_own_port,
    policies::tls_of_a_rule_is_made_with_the_roots_in_its_file_and_another_name_is_refused,
    programs::curl_and_psql_go_by_the_proxy_and_by_unix_sockets,
    programs::in_a_namespace_of_their_own_curl_and_psql_find_the_mesh_by_its_names,
    sidecar::http1_reaches_a_strict_sidecar,
    sidecar::http1_reaches_a_permissive_sidecar,
    sidecar::a_strict_sidecar_on_the_own_network_is_reached_directly,
    sidecar::a_permissive_sidecar_on_the_own_network_is_reached_directly_and_by_mtls,
    sidecar::grpc_reaches_a_strict_sidecar,
    sidecar::grpc_reaches_a_permissive_sidecar,
    sidecar::raw_tcp_reaches_a_strict_sidecar,
    sidecar::raw_tcp_reaches_a_permissive_sidecar,
    sidecar::a_subset_is_reached_by_its_own_name,
];

fn main() -> ExitCode {
    if let Some(socket) = programs::inside() {
        return match inside(programs::unmodified_programs(socket)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let missing = peers::find().err();
    if let Some(reason) = &missing {
        eprintln!("interop tests: no peers: {reason}");
    }
    let ignored = missing.is_some() && !peers::required();
    let no_dns = peers::may_mount().err();
    if let Some(reason) = &no_dns {
        eprintln!("interop tests: nothing beside the agent's DNS proxy: {reason}");
    }
    let no_programs = programs::missing();
    if let Some(reason) = &no_programs {
        eprintln!("interop tests: no unmodified programs: {reason}");
    }
    let no_clients = c_library::missing();
    if let Some(reason) = &no_clients {
        eprintln!("interop tests: no programs of the C library: {reason}");
    }
    let trials = ALL.iter().map(|(name, test)| {
        let ignored = ignored
            || no_dns.is_some() && name.starts_with("dns::")
            || no_programs.is_some() && name.starts_with("programs::")
            || no_clients.is_some() && !peers::required() && name.starts_with("c_library::");
        Trial::test(*name, move || run(*test)).with_ignored_flag(ignored)
    });
    let mut arguments = Arguments::from_args();
    // Each test starts a mesh of its own: one per core at a time.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn run(test: fn() -> Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Failed> {
    peers::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { tokio::time::timeout(PATIENCE, test()).await })?)
}

/// A test in a process of its own, inside a namespace.
fn inside(test: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await })?)
}
