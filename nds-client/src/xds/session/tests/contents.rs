//! Invalid, empty and repeated pushes.

use super::*;

#[test]
fn an_invalid_name_table_is_rejected_once_and_changes_nothing() {
    let mut session = session();
    session.open(SubscriptionSet::default());
    let reaction = session
        .receive(response(type_url::NAME_TABLE, "n1", vec![("", broken(type_url::NAME_TABLE))]))
        .unwrap();
    assert!(reaction.update.is_none());
    assert_eq!(reaction.rejected.unwrap().kind(), ErrorKind::InvalidResource);
    let reply = reaction.reply;
    assert_eq!(reply.response_nonce, "n1");
    assert!(reply.error_detail.unwrap().message.contains("name table"));
    assert!(session.change(SubscriptionDelta::default()).is_empty(), "no further message");
}

#[test]
fn an_identical_table_is_acknowledged_and_not_decoded() {
    let mut session = session();
    session.open(SubscriptionSet::default());
    let mut push =
        |table: Any| session.receive(response(type_url::NAME_TABLE, "n", vec![("", table)])).unwrap();
    let read = |reaction: &Reaction| match &reaction.update {
        Some(Update::Names(table)) => Some(table.is_some()),
        _ => None,
    };
    assert_eq!(read(&push(names("a.example"))), Some(true));
    let again = push(names("a.example"));
    assert_eq!(read(&again), Some(false));
    assert!(again.reply.error_detail.is_none());
    assert_eq!(read(&push(broken(type_url::NAME_TABLE))), None);
    assert_eq!(read(&push(names("a.example"))), Some(false), "the rejected table did not replace the hash");
    assert_eq!(read(&push(names("b.example"))), Some(true));
    assert_eq!(
        read(&push(any::pack(type_url::NAME_TABLE, &WireTable::default()))),
        Some(true),
        "an empty table"
    );
    assert_eq!(read(&push(names("b.example"))), Some(true));
}

#[test]
fn a_response_without_a_table_changes_nothing() {
    let mut session = session();
    session.open(SubscriptionSet::default());
    let reaction = session.receive(response(type_url::NAME_TABLE, "n1", vec![])).unwrap();
    assert!(reaction.update.is_none() && reaction.rejected.is_none());
}

#[test]
fn a_resource_without_contents_changes_nothing() {
    let mut session = session();
    session.open(wanted(true, &[FORECAST]));
    for kind in [type_url::NAME_TABLE, type_url::PROXY_CONFIG, type_url::ENDPOINT] {
        let resources = vec![Resource { name: FORECAST.into(), ..Resource::default() }];
        let reaction =
            session.receive(DeltaDiscoveryResponse { resources, ..response(kind, "n", vec![]) }).unwrap();
        assert!(reaction.update.is_none() && reaction.rejected.is_none(), "{kind}");
    }
    session.receive(response(type_url::CLUSTER, "n1", vec![(FORECAST, cluster(FORECAST))])).unwrap();
    let resources = vec![Resource { name: FORECAST.into(), ..Resource::default() }];
    let reaction = session
        .receive(DeltaDiscoveryResponse { resources, ..response(type_url::CLUSTER, "n2", vec![]) })
        .unwrap();
    assert!(matches!(reaction.update, Some(Update::Clusters(clusters)) if clusters.len() == 1));
}
