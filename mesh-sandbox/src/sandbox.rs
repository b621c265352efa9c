//! The public interface of the sandbox.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::address_book::{AddressBook, GatewayAddress};
use crate::data_plane::DataPlane;
use crate::dns::Upstream;
use crate::error::{Error, Result};
use crate::events::{AdsConnection, Event, Events, Rejection};
use crate::istiod::{Istiod, Pushes};
use crate::model::{Group, Mesh};
use crate::pki::TokenOptions;
use crate::pki::token::Account;
use crate::state::State;
use crate::tasks::TaskGroup;
use crate::vm_files::{self, Contents, VmFiles};

mod builder;
mod changes;
mod faults;
mod reload;

pub use builder::SandboxBuilder;

/// A mesh that runs in this process. Dropping the sandbox stops all its tasks.
#[derive(Debug)]
pub struct Sandbox {
    state: Arc<Mutex<State>>,
    pushes: Arc<Pushes>,
    plane: Arc<DataPlane>,
    istiod: Istiod,
    upstream: Arc<Upstream>,
    events: Events,
    book: AddressBook,
    tasks: TaskGroup,
    folder: MeshFolder,
}

/// The folder with the YAML.
#[derive(Debug)]
enum MeshFolder {
    Example(TempDir),
    Given(PathBuf),
}

impl MeshFolder {
    fn path(&self) -> &Path {
        match self {
            Self::Example(folder) => folder.path(),
            Self::Given(path) => path,
        }
    }
}

impl Sandbox {
    /// Returns a builder for a sandbox.
    pub fn builder() -> SandboxBuilder {
        SandboxBuilder::new()
    }

    /// Returns the mesh folder: the folder that the builder set. If the builder set none, the mesh folder is a
    /// temporary folder with the example mesh, which is removed with the sandbox.
    pub fn mesh_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the socket address of istiod (CA and ADS over TLS).
    pub fn istiod_address(&self) -> SocketAddr {
        self.istiod.address()
    }

    /// Returns the socket address (UDP and TCP) of the DNS server that answers the names in `upstream.hosts`.
    pub fn upstream_dns(&self) -> SocketAddr {
        self.upstream.address
    }

    /// Returns the number of queries for a name to the upstream DNS server, over all record types.
    pub fn upstream_queries(&self, name: &str) -> u64 {
        self.upstream.queries(name)
    }

    /// Returns the addresses of the east-west gateways.
    pub fn gateways(&self) -> Vec<GatewayAddress> {
        self.plane.gateways(&self.pushes.mesh())
    }

    /// Returns the mapping between addresses in the YAML and loopback sockets.
    pub fn address_book(&self) -> AddressBook {
        self.book.clone()
    }

    /// Returns the root certificates of the mesh as PEM.
    pub fn root_certificate_pem(&self) -> String {
        self.istiod.shared().authority.root_pem().to_owned()
    }

    /// Returns the log of events.
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// Returns the NACKs that istiod received, oldest first.
    pub fn rejections(&self) -> Vec<Rejection> {
        let rejections = self.events.all().into_iter().filter_map(|event| match event {
            Event::AdsRejected(rejection) => Some(rejection),
            _ => None,
        });
        rejections.collect()
    }

    /// Returns the currently connected ADS clients.
    pub fn connections(&self) -> Vec<AdsConnection> {
        self.istiod.shared().connections.lock().values().cloned().collect()
    }

    /// Issues a token for a service account, by the API server of the config cluster unless the options set another
    /// cluster.
    pub fn token(&self, namespace: &str, service_account: &str, options: &TokenOptions) -> String {
        let account = Account { namespace: namespace.to_owned(), name: service_account.to_owned() };
        self.istiod.shared().tokens.issue(&self.pushes.mesh().config_cluster, account, options)
    }

    /// Writes the files with which a VM joins as a `WorkloadGroup` (`namespace/name`) into a temporary folder, which is
    /// removed when the returned value is dropped.
    ///
    /// # Errors
    ///
    /// The group does not exist, or the files cannot be written.
    pub fn vm_files(&self, group: &str) -> Result<VmFiles> {
        let files = VmFiles::empty()?;
        self.write_vm_files(group, files.path())?;
        Ok(files)
    }

    /// Writes the files with which a VM joins as a `WorkloadGroup` (`namespace/name`) into `folder`.
    ///
    /// # Errors
    ///
    /// The group does not exist, or the files cannot be written.
    pub fn write_vm_files(&self, group: &str, folder: impl AsRef<Path>) -> Result<()> {
        let mesh = self.pushes.mesh();
        let group = find_group(&mesh, group)?;
        let account = match group.object.spec.template.service_account.as_str() {
            "" => "default",
            account => account,
        };
        let token = self.token(&group.namespace, account, &TokenOptions::default());
        let contents = Contents {
            group,
            cluster: &mesh.config_cluster,
            trust_domain: &mesh.config.trust_domain,
            istiod_port: self.istiod_address().port(),
            token: &token,
            root_pem: self.istiod.shared().authority.root_pem(),
        };
        vm_files::write(folder.as_ref(), &contents)
    }

    /// Returns the `WorkloadGroup`s with which a VM can join, as `namespace/name`.
    pub fn workload_groups(&self) -> Vec<String> {
        self.pushes.mesh().groups.iter().map(Group::full_name).collect()
    }

    /// Stops all tasks of the sandbox, and waits until they have ended.
    pub async fn shutdown(self) {
        self.tasks.close().await;
        self.istiod.stop().await;
        self.plane.close().await;
        self.upstream.close().await;
    }
}

fn find_group<'a>(mesh: &'a Mesh, name: &str) -> Result<&'a Group> {
    mesh.groups.iter().find(|group| group.full_name() == name).ok_or_else(|| {
        let known: Vec<_> = mesh.groups.iter().map(Group::full_name).collect();
        Error::not_found("WorkloadGroup", name, &known)
    })
}
