//! Changes of the mesh while it runs.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Sandbox;
use crate::data_plane::DataPlane;
use crate::dns::Upstream;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::istiod::Pushes;
use crate::model::Mesh;
use crate::state::{Difference, State};
use crate::yaml::Key;

/// The state that a change needs, shared by [`Sandbox`] and the task that reloads the folder.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) pushes: Arc<Pushes>,
    pub(super) plane: Arc<DataPlane>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) events: Events,
}

impl Changes {
    /// Applies a change of the mesh. The listeners change before the push, so that no client receives an address that
    /// refuses connections.
    pub(super) fn make(
        &self,
        change: impl FnOnce(&mut State) -> Result<(Arc<Mesh>, Difference)>,
    ) -> Result<Difference> {
        let mut state = self.state.lock();
        let (mesh, difference) = change(&mut state)?;
        self.plane.reconcile(&mesh)?;
        self.upstream.set_hosts(mesh.upstream.clone());
        self.pushes.change(mesh);
        Ok(difference)
    }
}

impl Sandbox {
    pub(super) fn changes(&self) -> Changes {
        Changes {
            state: self.state.clone(),
            pushes: self.pushes.clone(),
            plane: self.plane.clone(),
            upstream: self.upstream.clone(),
            events: self.events.clone(),
        }
    }

    /// Adds or replaces the objects in `yaml`, as `kubectl apply` does in that cluster. Clients receive the change
    /// after istiod's debounce of 100 ms.
    ///
    /// # Errors
    ///
    /// The YAML is invalid. The mesh is unchanged.
    pub fn apply(&self, cluster: &str, yaml: &str) -> Result<()> {
        self.changes().make(|state| state.apply(cluster, yaml)).map(|_| ())
    }

    /// Puts another application behind a service port, from the next connection on. Endpoints forward connections to
    /// `application`, as sidecars do after mTLS. `host` is the full name of the service.
    /// [`Sandbox::restore_application`] restores the built-in application.
    ///
    /// # Errors
    ///
    /// The service or the port does not exist.
    pub fn serve(&self, host: &str, port: u16, application: SocketAddr) -> Result<()> {
        self.set_application(host, port, Some(application))
    }

    /// Restores the built-in application behind a service port, from the next connection on.
    ///
    /// # Errors
    ///
    /// The service or the port does not exist.
    pub fn restore_application(&self, host: &str, port: u16) -> Result<()> {
        self.set_application(host, port, None)
    }

    fn set_application(&self, host: &str, port: u16, application: Option<SocketAddr>) -> Result<()> {
        let mesh = self.pushes.mesh();
        let mut ports = mesh.services.iter().filter(|service| service.host == host).flat_map(|it| &it.ports);
        if !ports.any(|it| it.number == port) {
            let known: BTreeSet<_> = mesh.services.iter().map(|service| service.host.clone()).collect();
            let known: Vec<_> = known.into_iter().collect();
            return Err(Error::not_found("service and port", format!("{host}:{port}"), &known));
        }
        self.plane.serve((host, port), application, &mesh)
    }

    /// Removes an object, as `kubectl delete` does. The namespace of cluster-wide objects is empty.
    ///
    /// # Errors
    ///
    /// The object does not exist.
    pub fn delete(&self, cluster: &str, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let key = Key { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() };
        self.changes().make(|state| state.delete(cluster, &key)).map(|_| ())
    }
}
