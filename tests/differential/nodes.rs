//! The nodes that subscribe: every case is compared for all of them.

use mesh_tests::ads::NodeBuilder;

/// Returns the nodes with their names in reports.
pub(crate) fn all() -> Vec<(&'static str, NodeBuilder)> {
    let vm = NodeBuilder::default;
    let dual = ["192.168.7.7", "fd00::7"];
    vec![
        ("a VM on a third network", vm()),
        ("network1, cluster1", vm().network("network1")),
        ("network2, cluster2", vm().network("network2").cluster("cluster2")),
        ("no network", vm().network("")),
        ("cluster2, no DNS_CAPTURE", vm().cluster("cluster2").without("DNS_CAPTURE")),
        ("namespace weather on network1", vm().account("weather", "client").network("network1")),
        ("namespace payments", vm().account("payments", "client")),
        ("dual-stack", vm().addresses(&dual)),
        ("IPv6 only", vm().addresses(&["fd00::7"])),
        ("node.locality r1/z1/s1", vm().network("network1").locality("r1/z1/s1")),
        (
            "topology labels r2/z2",
            vm().labels(&[
                ("topology.kubernetes.io/region", "r2"),
                ("topology.kubernetes.io/zone", "z2"),
                ("app", "labelled"),
            ]),
        ),
    ]
}
