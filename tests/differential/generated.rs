//! Randomly generated meshes, identified by number. Each is compared like a case, and again after objects were changed
//! and deleted. `SIDESTEP_MESHES=100..200` selects other meshes than the default ones, and `SIDESTEP_KEEP=DIR` keeps
//! the YAML.

mod destination_rule;
mod draw;
mod istio;
mod kubernetes;
mod object;
mod service_entry;

use std::{fmt::Write as _, fs, ops::Range, path::Path};

use libtest_mimic::Failed;
use serde_json::Value;

use self::{draw::Draw, kubernetes::Cluster};
use crate::{both::CLUSTERS, comparison::Comparison, side::Named};

/// The names of services, which are also the `app` labels of their workloads.
const APPS: [&str; 5] = ["a", "b", "c", "d", "e"];
/// The host of an entry that may also be a Kubernetes service.
const SHARED_HOST: &str = "a.weather.svc.cluster.local";
const NAMESPACES: [&str; 3] = ["weather", "payments", "legacy"];
const ALL_NAMESPACES: [&str; 4] = ["weather", "payments", "legacy", "istio-system"];
/// The meshes that run by default.
const ALWAYS: Range<u64> = 0..24;
/// istiod's cache of endpoints does not distinguish nodes of different IP families: the result depends on the first
/// request.
const WITHOUT_CACHE: [(&str, &str); 1] = [("PILOT_ENABLE_XDS_CACHE", "false")];
/// The number of changes of a mesh.
const CHANGES: u32 = 3;

/// A mesh, identified by its number.
#[derive(Clone, Copy)]
pub(crate) struct Mesh(pub(crate) u64);

/// An object with its cluster.
struct Object {
    cluster: &'static str,
    value: Value,
}

/// Returns the selected meshes.
pub(crate) fn all() -> Vec<Mesh> {
    let wanted = std::env::var("SIDESTEP_MESHES").ok().map(|text| {
        let parse =
            |number: &str| number.trim().parse().expect("SIDESTEP_MESHES must have the form 100..200");
        let (from, to) = text.split_once("..").expect("SIDESTEP_MESHES must have the form 100..200");
        parse(from)..parse(to)
    });
    wanted.unwrap_or(ALWAYS).map(Mesh).collect()
}

impl Mesh {
    pub(crate) async fn check(self) -> Result<(), Failed> {
        let name = format!("mesh {}", self.0);
        let mut draw = Draw::new(self.0);
        let mut objects = objects(&mut draw);
        let folder = tempfile::tempdir()?;
        write(folder.path(), &objects)?;
        if let Some(keep) = std::env::var_os("SIDESTEP_KEEP") {
            write(&Path::new(&keep).join(self.0.to_string()), &objects)?;
        }
        let mut comparison = Comparison::start(&name, folder.path(), &WITHOUT_CACHE).await?;
        comparison.check().await?;
        // Objects of the same kinds are generated again; some of them replace existing ones.
        let mut others = self::objects(&mut draw);
        let mut done = Vec::new();
        for _ in 0..CHANGES {
            done.push(change(&mut draw, &mut objects, &mut others, &mut comparison).await?);
            comparison.settle().await;
            comparison.check().await.map_err(|failed| {
                let what = failed.message().unwrap_or_default();
                Failed::from(format!("after {}: {what}", done.join(", and then ")))
            })?;
        }
        Ok(())
    }
}

fn objects(draw: &mut Draw) -> Vec<Object> {
    let mut clusters: Vec<_> =
        CLUSTERS.into_iter().zip(1..).map(|(name, number)| Cluster::new(name, number)).collect();
    if draw.percent(10) {
        clusters.truncate(1);
    }
    let mut objects = Vec::new();
    for cluster in &mut clusters {
        objects.extend(kubernetes::ground(draw, cluster));
    }
    objects.extend(kubernetes::services(draw, &mut clusters));
    // A ServiceEntry for a service in its own namespace is a mistake that can have many forms.
    let is_decorated = |value: &Value| {
        value["metadata"]["namespace"] == "weather"
            && value["spec"]["hosts"].as_array().is_some_and(|hosts| hosts.contains(&SHARED_HOST.into()))
    };
    let of_istio = istio::objects(draw).into_iter().filter(|value| !is_decorated(value));
    objects.extend(of_istio.map(|value| Object { cluster: CLUSTERS[0], value }));
    objects
}

/// Deletes an object, or replaces it by another.
async fn change(
    draw: &mut Draw,
    objects: &mut Vec<Object>,
    others: &mut Vec<Object>,
    comparison: &mut Comparison,
) -> Result<String, Failed> {
    others.retain(|other| {
        objects.iter().any(|object| object.cluster == other.cluster) && changes_alone(other, objects)
    });
    if draw.percent(60) && !others.is_empty() {
        let other = others.swap_remove(draw.number(0..=u32::try_from(others.len() - 1)?) as usize);
        let yaml = other.value.to_string();
        comparison.real.command("apply", other.cluster, &yaml).await;
        comparison.imitation.sandbox.apply(other.cluster, &yaml)?;
        let what = format!("{yaml} in {}", other.cluster);
        objects.push(other);
        return Ok(what);
    }
    let deletable: Vec<_> = (0..objects.len()).filter(|at| goes_alone(&objects[*at], objects)).collect();
    if deletable.is_empty() {
        return Ok("nothing".to_owned());
    }
    let gone = objects.swap_remove(draw.one_of(&deletable));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&gone.value["apiVersion"]), text(&gone.value["kind"]));
    let (namespace, name) =
        (text(&gone.value["metadata"]["namespace"]), text(&gone.value["metadata"]["name"]));
    let named = Named {
        cluster: gone.cluster,
        api_version: &api_version,
        kind: &kind,
        namespace: &namespace,
        name: &name,
    };
    // The list may contain several versions of the object.
    objects.retain(|object| object.cluster != gone.cluster || self::name(object) != self::name(&gone));
    comparison.real.command("delete", named.cluster, &named.yaml()).await;
    comparison.imitation.sandbox.delete(named.cluster, named.kind, named.namespace, named.name)?;
    Ok(format!("deleting {kind} {namespace}/{name} in {}", gone.cluster))
}

/// Returns whether the object can be added or changed alone. Pods change together with their slices, and networks with
/// everything. Also excluded are changes after which istiod still uses earlier state: the last address of a gateway
/// that no longer has one, the identities of endpoints if none are left, the cluster of a headless service whose
/// endpoints change, the subsets of a removed port, and services that are no longer exported.
fn changes_alone(object: &Object, all: &[Object]) -> bool {
    let (metadata, spec) = (&object.value["metadata"], &object.value["spec"]);
    let of_service = [&metadata["namespace"], &metadata["labels"]["kubernetes.io/service-name"]];
    let is_headless = |other: &Object| {
        let [kind, namespace, name] = name(other);
        kind == "Service" && [namespace, name] == of_service && other.value["spec"]["clusterIP"] == "None"
    };
    let is_own_host = |other: &Object| {
        let same_namespace = other.value["metadata"]["namespace"] == metadata["namespace"];
        same_namespace && name(other) != name(object) && shares_host(object, other)
    };
    let is_own_service = |other: &Object| {
        let [kind, namespace, name] = name(other);
        kind == "Service" && [namespace, name] == of_service && other.cluster == object.cluster
    };
    let is_there = all.iter().any(|other| name(other) == name(object));
    match object.value["kind"].as_str() {
        Some("Namespace" | "Node" | "Pod") => false,
        Some("Sidecar") => !narrows_ports(all.iter().chain([object])),
        // If its labels change, istiod keeps it as an endpoint of its former services.
        Some("WorkloadEntry") => !is_there,
        // A host that occurs twice in a namespace is a mistake.
        Some("ServiceEntry") => !hosts(object).contains(&&SHARED_HOST.into()) && !all.iter().any(is_own_host),
        Some("EndpointSlice") => {
            let is_empty = object.value["endpoints"].as_array().is_none_or(Vec::is_empty);
            !is_empty && all.iter().any(is_own_service) && !all.iter().any(is_headless)
        }
        Some("Service") => {
            metadata["annotations"]["networking.istio.io/exportTo"] != "~"
                && metadata["labels"]["istio"] != "eastwestgateway"
                && spec["type"] != "ExternalName"
                && !is_there
        }
        _ => true,
    }
}

/// Returns whether the object can be deleted alone. Kubernetes ensures that every service has slices, and istiod keeps
/// the identities of a service that is deleted in one cluster.
fn goes_alone(object: &Object, all: &[Object]) -> bool {
    let is_elsewhere = |other: &Object| other.cluster != object.cluster && name(other) == name(object);
    match object.value["kind"].as_str() {
        Some("Namespace" | "Node" | "Pod" | "EndpointSlice") => false,
        Some("Sidecar") => !narrows_ports(all.iter()),
        Some("Service") => !all.iter().any(is_elsewhere),
        _ => true,
    }
}

/// Returns whether a Sidecar affects the ports of a host: because several services have the host, or because the
/// Sidecar selects a port. istiod pushes changes of a Sidecar per host and misses the ports.
fn narrows_ports<'a>(all: impl Iterator<Item = &'a Object> + Clone) -> bool {
    let entries = || all.clone().filter(|object| object.value["kind"] == "ServiceEntry");
    let shares =
        |entry: &Object| entries().any(|other| name(other) != name(entry) && shares_host(entry, other));
    let has_port = |object: &Object| {
        object.value["kind"] == "Sidecar" && object.value["spec"]["egress"].to_string().contains("\"port\"")
    };
    entries().any(|entry| shares(entry) || hosts(entry).contains(&&SHARED_HOST.into()))
        || all.clone().any(has_port)
}

fn hosts(entry: &Object) -> Vec<&Value> {
    entry.value["spec"]["hosts"].as_array().into_iter().flatten().collect()
}

fn shares_host(one: &Object, other: &Object) -> bool {
    hosts(one).iter().any(|host| hosts(other).contains(host))
}

/// Returns the name of an object in its cluster.
fn name(object: &Object) -> [&Value; 3] {
    let metadata = &object.value["metadata"];
    [&object.value["kind"], &metadata["namespace"], &metadata["name"]]
}

/// Writes JSON, which is valid YAML.
fn write(folder: &Path, objects: &[Object]) -> std::io::Result<()> {
    for cluster in CLUSTERS {
        let of_cluster: Vec<_> = objects.iter().filter(|object| object.cluster == cluster).collect();
        if of_cluster.is_empty() {
            continue;
        }
        let mut text = String::new();
        for object in of_cluster {
            let _ = writeln!(text, "---\n{:#}", object.value);
        }
        fs::create_dir_all(folder.join(cluster))?;
        fs::write(folder.join(cluster).join("system.yaml"), text)?;
    }
    Ok(())
}
