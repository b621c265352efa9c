//! A pushed name table: what is in it is found.
#![no_main]

use nds_client::NameTable;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = NameTable::decode(bytes.to_vec().into()) else { return };
    for entry in table.iter() {
        let found = table.get(entry.name()).expect("a name of the table");
        assert_eq!(found.addresses().collect::<Vec<_>>(), entry.addresses().collect::<Vec<_>>());
        let _ = entry.service();
    }
    assert_eq!(table.iter().count(), table.len());
    assert!(table.clone().after(&table).is_none());
});
