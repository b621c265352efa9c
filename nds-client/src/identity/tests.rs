use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};

use super::*;
use crate::testing::{ID, provider};

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn ca() -> Ca {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { issuer: Issuer::new(params, key), pem }
}

fn leaf(ca: &Ca, uris: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    (params.signed_by(&key, &ca.issuer).unwrap().pem(), key.serialize_pem())
}

#[test]
fn debug_prints_the_id_and_not_the_key() {
    let ca = ca();
    let (chain, key) = leaf(&ca, &[ID]);
    let identity =
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), ca.pem.as_bytes(), provider()).unwrap();
    assert_eq!(identity.spiffe_id().as_str(), ID);
    assert_eq!(identity.roots().len(), 1);
    assert!(identity.remaining(SystemTime::now()) > Duration::from_secs(3600));
    assert!(!format!("{identity:?}").to_lowercase().contains("key"));
}

#[test]
fn a_key_of_another_certificate_is_an_error() {
    let ca = ca();
    let ((chain, _), (_, key)) = (leaf(&ca, &[ID]), leaf(&ca, &[ID]));
    let error =
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), ca.pem.as_bytes(), provider()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
}

#[test]
fn a_certificate_without_exactly_one_spiffe_id_is_an_error() {
    let ca = ca();
    for uris in [&[][..], &[ID, ID][..], &["https://example.com"][..]] {
        let (chain, key) = leaf(&ca, uris);
        let result = Identity::from_pem(chain.as_bytes(), key.as_bytes(), ca.pem.as_bytes(), provider());
        assert!(result.is_err(), "{uris:?}");
    }
}

#[test]
fn duplicate_roots_are_removed() {
    let ca = ca();
    let roots = certificates(format!("{}{}", ca.pem, ca.pem).as_bytes(), "the roots").unwrap();
    assert_eq!(root_store(&roots).unwrap().len(), 1);
}
