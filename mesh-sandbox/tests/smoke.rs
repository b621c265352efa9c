//! first light

use mesh_sandbox::Sandbox;

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_mesh_starts() {
    let sandbox = Sandbox::builder().start().await.unwrap();
    println!("{:?} {:?}", sandbox.istiod_address(), sandbox.gateways());
    for (yaml, socket) in sandbox.address_book().entries() {
        println!("{yaml:?} {socket}");
    }
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    for f in ["cluster.env", "mesh.yaml", "hosts", "istio-token", "root-cert.pem"] {
        println!("--- {f}\n{}", std::fs::read_to_string(vm.path().join(f)).unwrap());
    }
    sandbox.shutdown().await;
}
