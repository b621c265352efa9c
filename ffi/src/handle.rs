//! Handles, which C programs hold instead of pointers.
//!
//! A handle has a pointer type, but it is a number: the index of a slot in a table, the generation of that slot, and
//! the type of the object. The library never dereferences it. So a call with a handle that was freed, has another type
//! or is not a handle at all returns a status code. A call holds a reference to the object, so another thread can free
//! the handle during the call.
//!
//! The table is the only state that all meshes of a process share. A forked child may inherit the lock of the table in
//! any state, so the child does not use the table: handles of the parent give `SIDESTEP_E_FORKED`, and new handles are
//! in a new table.

mod process;
mod table;

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use self::table::{Id, Table};
use crate::{
    failure::Failure,
    status::{
        SIDESTEP_E_BAD_HANDLE, SIDESTEP_E_FORKED, SIDESTEP_E_WRONG_HANDLE, SIDESTEP_OK, sidestep_status,
    },
};

/// A type of object that C programs hold a handle to.
pub(crate) trait Kind: Send + Sync + Sized + 'static {
    /// The type of the handle in the C header.
    type C;
    /// The number of the type in a handle, 1 to 127. No two types have the same number.
    const TAG: u8;
    /// The name of the type of the handle in the C header.
    const NAME: &'static str;
}

static TABLE: ArcSwapOption<Process> = ArcSwapOption::const_empty();

/// A process and its handles.
struct Process {
    pid: u32,
    /// The number of forks between the first process that used handles and this process.
    epoch: usize,
    table: Table,
}

/// Creates a handle for an object.
pub(crate) fn create<K: Kind>(value: K) -> *mut K::C {
    create_shared(Arc::new(value))
}

/// Creates a handle for a shared object.
pub(crate) fn create_shared<K: Kind>(value: Arc<K>) -> *mut K::C {
    own().table.insert(K::TAG, value).to_pointer()
}

/// Returns the object of a handle.
pub(crate) fn get<K: Kind>(handle: *const K::C) -> Result<Arc<K>, Failure> {
    let id = Id::from_pointer::<K>(handle.addr())?;
    let value = with_table::<K, _>(id, |table| table.get(id))?.ok_or_else(|| freed::<K>(handle.addr()))?;
    value.downcast().map_err(|_| freed::<K>(handle.addr()))
}

/// Removes a handle and returns its object. Returns `None` for NULL.
pub(crate) fn remove<K: Kind>(handle: *const K::C) -> Result<Option<Arc<K>>, Failure> {
    if handle.is_null() {
        return Ok(None);
    }
    let id = Id::from_pointer::<K>(handle.addr())?;
    let value = with_table::<K, _>(id, |table| table.remove(id))?.ok_or_else(|| freed::<K>(handle.addr()))?;
    value.downcast().map(Some).map_err(|_| freed::<K>(handle.addr()))
}

/// Removes a handle and drops its object. Does nothing for NULL.
pub(crate) fn free<K: Kind>(handle: *const K::C) -> sidestep_status {
    match crate::failure::guarded(|| remove::<K>(handle)) {
        Ok(_) => SIDESTEP_OK,
        Err(failure) => failure.status,
    }
}

fn freed<K: Kind>(number: usize) -> Failure {
    let message = format!("the {} {number:#x} was freed", K::NAME);
    Failure::new(SIDESTEP_E_BAD_HANDLE, message)
}

/// Calls `work` with this process' table. Fails if the handle belongs to a parent process.
fn with_table<K: Kind, T>(id: Id, work: impl FnOnce(&Table) -> T) -> Result<T, Failure> {
    match &*TABLE.load() {
        Some(own) if own.pid == process::pid() && own.epoch == id.epoch() => Ok(work(&own.table)),
        Some(_) => {
            let message = format!("this {} was created before fork(), in the parent process", K::NAME);
            Err(Failure::new(SIDESTEP_E_FORKED, message))
        }
        None => {
            let message = format!("this is not a {}: the process has not created one", K::NAME);
            Err(Failure::new(SIDESTEP_E_BAD_HANDLE, message))
        }
    }
}

/// Returns this process' table. The first call in a process creates it.
fn own() -> Arc<Process> {
    loop {
        let current = TABLE.load();
        let pid = process::pid();
        match &*current {
            Some(process) if process.pid == pid => return process.clone(),
            _ => {
                let epoch = current.as_ref().map_or(0, |parent| Id::next_epoch(parent.epoch));
                let new = Arc::new(Process { pid, epoch, table: Table::new(epoch) });
                let previous = TABLE.compare_and_swap(&current, Some(new));
                // The threads of the parent's objects run only in the parent. Dropping the objects here would wait for them.
                if let Some(parent) = Guard::into_inner(previous).filter(|process| process.pid != pid) {
                    std::mem::forget(parent);
                }
            }
        }
    }
}

fn wrong<K: Kind>() -> Failure {
    Failure::new(SIDESTEP_E_WRONG_HANDLE, format!("the handle is not a {}", K::NAME))
}
