use super::*;

#[test]
fn an_empty_table_knows_nothing() {
    assert!(lookup(&NameTable::default(), &Scope::new("vms", "svc.cluster.local"), "forecast").is_none());
}
