//! Reads the YAML documents of a text as objects, and rejects unsupported or invalid documents.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::document::{self, Document};
use super::kubernetes::Metadata;
use super::object::{Key, Manifest, Object};
use super::{parse, unsupported, validation};
use crate::error::{Error, ErrorKind, Result};
use crate::location::SourceLocation;

/// Reads all objects of a YAML text.
pub(crate) fn read(file: &Path, text: &str) -> Result<Vec<Manifest>> {
    let file = SourceLocation::new(file, 1);
    document::split(text).into_iter().map(|document| read_one(&file, &document)).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: Metadata,
}

fn read_one(file: &SourceLocation, document: &Document) -> Result<Manifest> {
    let location = file.at(document.line);
    let header: Header = parse(&document.text, &location)?;
    let object = typed(&header, document, &location)?;
    let clustered = matches!(object, Object::Namespace | Object::Node);
    let namespace = match header.metadata.namespace.clone() {
        _ if clustered => String::new(),
        Some(namespace) => namespace,
        None => "default".to_owned(),
    };
    let key = Key { kind: header.kind, namespace, name: header.metadata.name.clone() };
    let manifest = Manifest {
        location,
        key,
        metadata: Arc::new(header.metadata),
        object,
        text: document.text.trim().into(),
    };
    if manifest.key.name.is_empty() {
        return Err(manifest.invalid("metadata.name is missing"));
    }
    unsupported::check(&manifest)?;
    validation::check(&manifest)?;
    Ok(manifest)
}

fn typed(header: &Header, document: &Document, location: &SourceLocation) -> Result<Object> {
    fn content<T: DeserializeOwned>(document: &Document, location: &SourceLocation) -> Result<Arc<T>> {
        parse(&document.text, location).map(Arc::new)
    }
    let group = header.api_version.split_once('/').map_or("", |(group, _)| group);
    Ok(match (group, header.kind.as_str()) {
        ("", "Namespace") => Object::Namespace,
        ("", "Node") => Object::Node,
        ("", "Pod") => Object::Pod(content(document, location)?),
        ("", "Service") => Object::Service(content(document, location)?),
        ("", "ServiceAccount") => Object::ServiceAccount,
        ("discovery.k8s.io", "EndpointSlice") => Object::EndpointSlice(content(document, location)?),
        ("networking.istio.io", "DestinationRule") => Object::DestinationRule(content(document, location)?),
        ("networking.istio.io", "Gateway") => Object::Gateway(content(document, location)?),
        ("networking.istio.io", "ServiceEntry") => Object::ServiceEntry(content(document, location)?),
        ("networking.istio.io", "Sidecar") => Object::Sidecar(content(document, location)?),
        ("networking.istio.io", "WorkloadEntry") => Object::WorkloadEntry(content(document, location)?),
        ("networking.istio.io", "WorkloadGroup") => Object::WorkloadGroup(content(document, location)?),
        ("security.istio.io", "PeerAuthentication") => {
            Object::PeerAuthentication(content(document, location)?)
        }
        _ => {
            let mut lines = document.text.lines().zip(document.line..);
            let line = lines.find_map(|(line, number)| line.starts_with("kind:").then_some(number));
            let location = location.at(line.unwrap_or(document.line));
            let problem = format!(
                "kind {} ({}) is not supported by the sandbox; remove the document, or see the table of supported \
                 kinds in the documentation of mesh-sandbox",
                header.kind, header.api_version
            );
            return Err(Error::at(ErrorKind::UnsupportedKind, location, problem));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::read;
    use crate::error::ErrorKind;
    use crate::yaml::object::Object;

    #[test]
    fn an_unsupported_kind_is_rejected_with_its_line() {
        let text = "# a comment\n\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n";
        let error = read(Path::new("a.yaml"), text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedKind, "{error}");
        assert!(error.to_string().contains("kind Deployment (apps/v1)"), "{error}");
        assert_eq!(error.location().unwrap().line(), 4);
    }

    #[test]
    fn an_unknown_field_of_an_istio_kind_is_rejected_with_its_line() {
        let text = "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec:\n  \
                    hosts: [a.example]\n  tpyo: 1\n";
        let error = read(Path::new("a.yaml"), text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidYaml, "{error}");
        assert_eq!(error.location().unwrap().line(), 7, "{error}");
    }

    #[test]
    fn a_number_or_boolean_is_not_a_label_value() {
        for value in ["1", "true", "yes", "1.5"] {
            let text = format!(
                "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: a, labels: {{x: {value}}}}}\n"
            );
            assert!(read(Path::new("a.yaml"), &text).is_err(), "{value}");
        }
    }

    #[test]
    fn the_default_namespace_is_default() {
        let text = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n";
        let objects = read(Path::new("a.yaml"), text).unwrap();
        assert_eq!(objects[0].key.namespace, "default");
        assert!(matches!(objects[0].object, Object::ServiceAccount));
    }
}
