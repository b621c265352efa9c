//! Every name of a pushed name table is found.
#![no_main]

use nds_client::resources::name_table::NameTable;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = NameTable::decode(bytes) else { return };
    for entry in table.iter() {
        let found = table.get(entry.name()).expect("a name of the table");
        assert_eq!(found.addresses().collect::<Vec<_>>(), entry.addresses().collect::<Vec<_>>());
        let _ = entry.service();
    }
    assert_eq!(table.iter().count(), table.len());
    assert!(table.clone().after(&table).is_none());
});
