//! Hosts outside the mesh that a ServiceEntry declares, and one inside.

/// The ServiceEntries of [`UPSTREAM`], [`OWN_ADDRESS`] and [`INSIDE`], in the namespace `weather`.
pub const ENTRIES: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: intranet, namespace: weather}
spec:
  hosts: [intranet.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 443, name: tls, protocol: TLS}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: vault, namespace: weather}
spec:
  hosts: [vault.example.com]
  addresses: [198.51.100.7]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS}]
  endpoints: [{address: 198.51.100.7}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: inside, namespace: weather}
spec:
  hosts: [inside.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.2.30}]
";

/// A host outside the mesh without an address, which upstream DNS answers (`upstream.hosts` of the example mesh).
pub const UPSTREAM: &str = "intranet.example.com";
/// A host outside the mesh with the explicit address 198.51.100.7.
pub const OWN_ADDRESS: &str = "vault.example.com";
/// A host inside the mesh without an address.
pub const INSIDE: &str = "inside.example.com";
/// All three hosts.
pub const HOSTS: [&str; 3] = [UPSTREAM, OWN_ADDRESS, INSIDE];
