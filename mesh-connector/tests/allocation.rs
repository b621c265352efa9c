//! Allocations of the routing decision.

use mesh_connector::{Config, Mesh, Target};
use mesh_sandbox::Sandbox;

#[tokio::test]
async fn the_routing_decision_allocates_nothing_for_a_known_route() {
    let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let mesh = Mesh::join(Config::from_vm_files(vm.path()).unwrap()).await.unwrap();
    let target = Target::new("forecast.weather", 3002).unwrap();
    assert!(mesh.next_hop(&target).is_none(), "the clusters are not loaded yet");
    mesh.connect_to(&target).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let mut hop = None;
        let counted = allocation_counter::measure(|| hop = mesh.next_hop(&target));
        assert_eq!(counted.count_total, 0);
        seen.insert(hop.unwrap().endpoint().port);
    }
    assert_eq!(seen.len(), 2, "each call makes a new choice among both gateways");
    let outside = Target::new("outside.test", 80).unwrap();
    assert!(mesh.next_hop(&outside).is_none());
    let counted = allocation_counter::measure(|| assert!(mesh.next_hop(&outside).is_none()));
    assert_eq!(counted.count_total, 0, "the result for a host outside the mesh is cached");
}
