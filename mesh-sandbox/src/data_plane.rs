//! The listeners of all endpoints and gateways of the mesh. After a change of the mesh, listeners of new addresses are
//! opened, listeners of removed addresses are closed with their connections, and all other listeners keep their
//! sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::address_book::{AddressBook, GatewayAddress, YamlAddress};
use crate::error::Result;
use crate::events::Events;
use crate::gateway::{self, Gateway, Routes};
use crate::listen;
use crate::model::{Endpoint, Mesh, NetworkGateway, Port};
use crate::tasks::TaskGroup;
use crate::workload::{self, Identities, Presented, Role, Validity, Workload};

/// The listeners of workloads and gateways.
#[derive(Debug)]
pub(crate) struct DataPlane {
    runtime: Handle,
    book: AddressBook,
    events: Events,
    identities: Arc<Identities>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    workloads: BTreeMap<YamlAddress, Listening<Workload>>,
    gateways: BTreeMap<YamlAddress, Listening<Gateway>>,
    /// Networks whose gateways are stopped.
    stopped: BTreeSet<String>,
    /// The delay of the gateways of each network before they forward a connection.
    delays: BTreeMap<String, watch::Sender<Duration>>,
    /// The identity that workloads present instead of their own. The key is their own SPIFFE ID.
    presented: BTreeMap<String, Presented>,
    /// The application that serves a service port instead of the built-in application, by host and port of the service.
    applications: BTreeMap<(String, u16), SocketAddr>,
}

#[derive(Debug)]
struct Listening<T> {
    what: Arc<T>,
    socket: SocketAddr,
    tasks: Arc<TaskGroup>,
}

impl DataPlane {
    pub(crate) fn new(
        runtime: &Handle,
        book: AddressBook,
        events: Events,
        identities: Arc<Identities>,
    ) -> Self {
        Self { runtime: runtime.clone(), book, events, identities, state: Mutex::default() }
    }

    /// Opens and closes listeners so that they match `mesh`. After an error the mesh works as before, but sockets that
    /// were already bound stay bound.
    pub(crate) fn reconcile(&self, mesh: &Mesh) -> Result<()> {
        let mut state = self.state.lock();
        self.reconcile_workloads(&mut state, mesh)?;
        self.reconcile_gateways(&mut state, mesh)
    }

    fn reconcile_workloads(&self, state: &mut State, mesh: &Mesh) -> Result<()> {
        let wanted = wanted_workloads(mesh, state);
        let gone = state.workloads.keys().filter(|address| !wanted.contains_key(*address)).cloned();
        for address in gone.collect::<Vec<_>>() {
            state.workloads.remove(&address);
            self.book.remove(&address);
        }
        for (address, role) in wanted {
            if let Some(known) = state.workloads.get(&address) {
                *known.what.role.write() = Arc::new(role);
                continue;
            }
            let what = Arc::new(Workload {
                role: RwLock::new(Arc::new(role)),
                identities: self.identities.clone(),
                events: self.events.clone(),
            });
            let listener = listen::tcp("a workload", listen::ANY)?;
            let socket = listen::address(&listener)?;
            let tasks = Arc::new(TaskGroup::new(&self.runtime));
            tasks.spawn(workload::serve(what.clone(), listener, connections(&self.runtime)));
            self.book.insert(address.clone(), socket);
            state.workloads.insert(address, Listening { what, socket, tasks });
        }
        Ok(())
    }

    fn reconcile_gateways(&self, state: &mut State, mesh: &Mesh) -> Result<()> {
        let wanted: BTreeMap<YamlAddress, &NetworkGateway> = mesh
            .gateways
            .iter()
            .chain(&mesh.unresolved)
            .filter(|gateway| gateway.port > 0)
            .map(|it| (YamlAddress::new(&it.network, &it.address, it.port), it))
            .collect();
        let gone = state.gateways.keys().filter(|address| !wanted.contains_key(*address)).cloned();
        for address in gone.collect::<Vec<_>>() {
            state.gateways.remove(&address);
            self.book.remove(&address);
        }
        for (address, wanted) in wanted {
            let routes = Arc::new(Routes::of(wanted, mesh));
            if let Some(known) = state.gateways.get(&address) {
                *known.what.routes.write() = routes;
                continue;
            }
            let delay = state.delays.entry(wanted.network.clone()).or_default().subscribe();
            let what = Arc::new(Gateway {
                network: wanted.network.clone(),
                delay,
                routes: RwLock::new(routes),
                book: self.book.clone(),
                events: self.events.clone(),
            });
            let listening = self.listen_gateway(what, listen::ANY)?;
            self.book.insert(address.clone(), listening.socket);
            if state.stopped.contains(&wanted.network) {
                listening.tasks.abort();
            }
            state.gateways.insert(address, listening);
        }
        Ok(())
    }

    fn listen_gateway(&self, what: Arc<Gateway>, at: SocketAddr) -> Result<Listening<Gateway>> {
        let listener = listen::tcp("an east-west gateway", at)?;
        let socket = listen::address(&listener)?;
        let tasks = Arc::new(TaskGroup::new(&self.runtime));
        tasks.spawn(gateway::serve(what.clone(), listener, connections(&self.runtime)));
        Ok(Listening { what, socket, tasks })
    }

    pub(crate) fn gateways(&self, mesh: &Mesh) -> Vec<GatewayAddress> {
        let state = self.state.lock();
        let addresses = mesh.gateways.iter().filter_map(|gateway| {
            let listening =
                state.gateways.get(&YamlAddress::new(&gateway.network, &gateway.address, gateway.port))?;
            Some(GatewayAddress {
                network: gateway.network.clone(),
                cluster: gateway.cluster.clone(),
                yaml_address: gateway.address.clone(),
                yaml_port: gateway.port,
                address: listening.socket,
            })
        });
        addresses.collect()
    }

    /// Stops the gateways of a network and closes their connections. The ports of the gateways then refuse connections.
    /// Returns `false` if no gateway leads into the network.
    pub(crate) async fn stop_gateway(&self, network: &str) -> bool {
        let stopping: Vec<_> = {
            let mut state = self.state.lock();
            state.stopped.insert(network.to_owned());
            let of_network = state.gateways.values().filter(|it| it.what.network == network);
            of_network.map(|it| it.tasks.clone()).collect()
        };
        for tasks in &stopping {
            tasks.close().await;
        }
        !stopping.is_empty()
    }

    /// Starts the stopped gateways of a network again, on the same ports.
    pub(crate) fn start_gateway(&self, network: &str) -> Result<()> {
        let mut state = self.state.lock();
        if !state.stopped.remove(network) {
            return Ok(());
        }
        for listening in state.gateways.values_mut().filter(|it| it.what.network == network) {
            *listening = self.listen_gateway(listening.what.clone(), listening.socket)?;
        }
        Ok(())
    }

    /// Sets the delay of the gateways of a network, for new connections and for connections that are being delayed.
    /// Returns `false` if no gateway leads into the network.
    pub(crate) fn slow_gateway(&self, network: &str, delay: Duration) -> bool {
        let state = self.state.lock();
        let known = state.delays.get(network);
        known.is_some_and(|known| {
            known.send_replace(delay);
            known.receiver_count() > 0
        })
    }

    /// Makes the workloads with the SPIFFE ID `identity` present the identity `instead`; `None` restores their own
    /// identity.
    pub(crate) fn present(&self, identity: String, instead: Option<Presented>, mesh: &Mesh) -> Result<()> {
        {
            let mut state = self.state.lock();
            match instead {
                Some(instead) => state.presented.insert(identity, instead),
                None => state.presented.remove(&identity),
            };
        }
        self.reconcile(mesh)
    }

    /// Sets the application that serves a service port; `None` restores the built-in application.
    pub(crate) fn serve(&self, service: (&str, u16), by: Option<SocketAddr>, mesh: &Mesh) -> Result<()> {
        let service = (service.0.to_owned(), service.1);
        {
            let mut state = self.state.lock();
            match by {
                Some(by) => state.applications.insert(service, by),
                None => state.applications.remove(&service),
            };
        }
        self.reconcile(mesh)
    }

    /// Aborts the tasks of all listeners and connections, and waits until they have ended.
    pub(crate) async fn close(&self) {
        let tasks: Vec<_> = {
            let state = self.state.lock();
            let workloads = state.workloads.values().map(|it| it.tasks.clone());
            workloads.chain(state.gateways.values().map(|it| it.tasks.clone())).collect()
        };
        for tasks in tasks {
            tasks.close().await;
        }
    }
}

/// Creates a group for the connection tasks of one listener. The task that accepts the connections owns the group, so
/// the end of that task ends the group.
fn connections(runtime: &Handle) -> Arc<TaskGroup> {
    Arc::new(TaskGroup::new(runtime))
}

impl<T> Drop for Listening<T> {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

fn wanted_workloads(mesh: &Mesh, state: &State) -> BTreeMap<YamlAddress, Role> {
    let mut wanted = BTreeMap::new();
    for service in &mesh.services {
        for port in &service.ports {
            let application = state.applications.get(&(service.host.clone(), port.number)).copied();
            for endpoint in service.endpoints_of(port).filter(|endpoint| !endpoint.address.is_empty()) {
                let address = YamlAddress::new(&endpoint.network, &endpoint.address, endpoint.port);
                wanted
                    .entry(address)
                    .or_insert_with(|| Role { application, ..role(port, endpoint, &state.presented) });
            }
        }
    }
    wanted
}

fn role(port: &Port, endpoint: &Endpoint, presented: &BTreeMap<String, Presented>) -> Role {
    let name = if endpoint.pod.is_empty() { &endpoint.address } else { &endpoint.pod };
    let own = endpoint.identity.clone().filter(|_| endpoint.has_sidecar());
    Role {
        workload: name.as_str().into(),
        namespace: endpoint.namespace.as_str().into(),
        cluster: endpoint.cluster.as_str().into(),
        port: endpoint.port,
        protocol: port.protocol,
        application: None,
        mode: endpoint.policy,
        presented: own.map(|own| {
            let instead = presented.get(&own).cloned();
            instead.unwrap_or(Presented { identity: own, validity: Validity::Current })
        }),
    }
}
