//! Tests Sidestep with a real istiod, a real east-west gateway (Istio's agent and Envoy) and workloads with
//! certificates of the real CA. `tests/peers/build.sh` builds them. Without them, these tests are ignored, or fail if
//! `SIDESTEP_PEERS=required`.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed setup fails the test"
)]

mod ambient;
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

/// The timeout of a test.
const PATIENCE: Duration = Duration::from_secs(120);

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Creates tests from the functions of a module.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), || Box::pin($module::$name()))),*]
    };
}

const ALL: &[Test] = &tests![
    ambient::an_ambient_pod_is_refused_with_the_reason_and_receives_no_plaintext,
    ambient::an_ambient_pod_is_refused_even_if_a_rule_disables_tls,
    ambient::the_pods_with_a_sidecar_serve_a_service_that_also_has_ambient_pods,
    ambient::a_plaintext_connection_that_got_no_response_is_explained_as_accepted,
    bridge::http_clients_reach_the_workload_through_the_proxy_and_a_loopback_address,
    bridge::raw_bytes_pass_a_unix_socket_and_socks_and_each_direction_closes_separately,
    bridge::the_explanation_of_a_connection_through_the_gateway_contains_the_identity_of_the_peer,
    bridge::the_explanation_of_a_reset_by_the_gateway_lists_possible_causes,
    bridge::tls_with_a_credential_name_is_rejected_and_disable_is_plaintext,
    c_library::c_and_cpp_reach_a_sidecar_through_the_gateway,
    c_library::libcurl_reaches_a_sidecar_through_the_gateway_in_each_way,
    c_library::libpq_reaches_a_database_behind_a_sidecar_through_the_gateway,
    c_library::python_go_and_java_reach_a_sidecar_through_the_gateway,
    control_plane::a_vm_gets_a_certificate_and_its_names_clusters_and_endpoints,
    control_plane::istiod_is_found_by_every_form_of_address_in_vm_files,
    control_plane::istiod_is_reached_through_an_east_west_gateway,
    control_plane::a_vm_without_a_network_uses_the_gateways,
    control_plane::adding_and_deleting_a_name_updates_a_running_client,
    control_plane::names_stay_while_istiod_is_down_and_are_updated_after_its_restart,
    control_plane::a_certificate_is_renewed_many_times_with_the_previous_certificate,
    control_plane::a_request_above_the_maximum_lifetime_is_repeated_with_the_default,
    control_plane::the_error_of_a_rejected_token_names_the_invalid_claim,
    control_plane::the_error_of_a_wrong_root_names_the_root_file,
    control_plane::the_stream_rejects_an_identity_of_another_namespace,
    control_plane::the_error_after_the_join_timeout_names_the_address_of_istiod,
    control_plane::forced_reconnects_cause_no_error,
    data_plane::a_call_through_the_gateway_reaches_the_expected_workload,
    data_plane::calls_are_spread_over_the_gateways_of_both_networks,
    data_plane::a_workload_with_another_identity_is_rejected_and_the_error_names_both_identities,
    data_plane::http2_is_negotiated_through_the_gateway,
    data_plane::a_raw_stream_through_the_gateway_needs_no_negotiated_protocol,
    data_plane::the_error_of_a_host_that_the_gateway_does_not_expose_lists_possible_causes,
    data_plane::plaintext_is_used_if_the_control_plane_configures_it_and_not_if_mtls_is_required,
    data_plane::the_error_of_an_unknown_port_lists_the_ports_of_the_service,
    dns::the_listener_answers_like_the_agent_of_istio,
    dns::invalid_queries_are_rejected_like_by_the_agent_of_istio,
    external::a_host_outside_the_mesh_gets_the_answer_of_upstream_unless_it_has_explicit_addresses,
    identity::a_restarted_vm_joins_with_an_expired_token,
    identity::a_restored_certificate_is_renewed_without_the_token,
    identity::a_certificate_of_a_replaced_ca_is_dropped_and_the_token_is_used,
    identity::a_certificate_in_files_is_reloaded_after_another_process_renewed_it,
    identity::pushed_roots_are_trusted_immediately_and_clients_survive_a_root_rotation,
    load::a_plugged_ca_with_an_intermediate_is_trusted_end_to_end,
    load::a_root_rotation_under_load_fails_no_call,
    load::another_trust_domain_with_an_alias_is_taken_from_the_certificate,
    load::certificates_renewed_many_times_under_load_fail_no_call,
    load::istiod_restarted_under_load_fails_no_call,
    load::an_expired_certificate_is_replaced_with_the_token,
    load::a_vm_that_starts_while_istiod_is_down_uses_its_snapshot,
    load::several_thousand_services_arrive_in_one_message,
    outside::the_outbound_policy_needs_all_listeners_or_the_routes_of_an_unused_port,
    policies::a_proxy_protocol_header_is_sent_first_if_a_rule_enables_it,
    policies::the_connection_limit_and_keepalive_of_a_rule_are_applied,
    policies::endpoints_are_selected_in_turn_and_a_failing_one_is_ejected_by_the_rule,
    policies::below_the_panic_threshold_ejected_endpoints_are_selected_again,
    policies::the_warm_up_and_the_connection_limits_of_a_rule_are_applied,
    policies::a_service_with_resolution_none_is_connected_to_at_the_requested_address_and_target_port,
    policies::the_tls_of_a_rule_uses_the_roots_in_its_file_and_rejects_another_name,
    programs::curl_and_psql_connect_through_the_proxy_and_unix_sockets,
    programs::in_a_network_namespace_curl_and_psql_connect_by_mesh_names,
    sidecar::http1_reaches_a_strict_sidecar,
    sidecar::http1_reaches_a_permissive_sidecar,
    sidecar::a_strict_sidecar_on_the_own_network_is_reached_directly,
    sidecar::a_permissive_sidecar_on_the_own_network_is_reached_directly_and_by_mtls,
    sidecar::grpc_reaches_a_strict_sidecar,
    sidecar::grpc_reaches_a_permissive_sidecar,
    sidecar::raw_tcp_reaches_a_strict_sidecar,
    sidecar::raw_tcp_reaches_a_permissive_sidecar,
    sidecar::a_subset_is_reached_by_its_name,
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
        eprintln!("interop tests: no comparison with the agent's DNS proxy: {reason}");
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
    // Each test starts its own mesh, so the default is one per core.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn run(test: fn() -> Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Failed> {
    peers::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { tokio::time::timeout(PATIENCE, test()).await })?)
}

/// Runs a test in its own process, inside a namespace.
fn inside(test: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await })?)
}
