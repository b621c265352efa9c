//! Handles: what C holds instead of pointers.
//!
//! A handle looks like a pointer and is a number: a place in a table, how often that place has been given out, and the
//! kind of what is there. It is never followed, so one that was freed, is of another kind, or never was one is told by
//! looking, and comes to a status. Whoever works with a value keeps it alive: freeing it from another thread meanwhile
//! is safe.
//!
//! The table is the only thing that all meshes of a process share. After `fork` the child may have inherited its lock in
//! any state, so it is not touched there: handles of before are `SIDESTEP_FORKED`, and new ones get a table of their own.

mod process;
mod table;

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use self::table::{Id, Table};
use crate::{
    failure::Failure,
    status::{SIDESTEP_BAD_HANDLE, SIDESTEP_FORKED, SIDESTEP_OK, SIDESTEP_WRONG_HANDLE, sidestep_status},
};

/// Something that C gets a handle of.
pub(crate) trait Kind: Send + Sync + Sized + 'static {
    /// Its type in the header.
    type C;
    /// Tells the kinds apart: 1 to 127.
    const TAG: u8;
    const NAME: &'static str;
}

static TABLE: ArcSwapOption<Process> = ArcSwapOption::const_empty();

/// A process and its handles.
struct Process {
    pid: u32,
    /// How many forks lie between the first process with handles and this one.
    epoch: usize,
    table: Table,
}

/// Gives a value to C.
pub(crate) fn give<K: Kind>(value: K) -> *mut K::C {
    give_shared(Arc::new(value))
}

/// Gives C a handle of a value that is in use.
pub(crate) fn give_shared<K: Kind>(value: Arc<K>) -> *mut K::C {
    own().table.insert(K::TAG, value).to_pointer()
}

/// The value behind a handle.
pub(crate) fn get<K: Kind>(handle: *const K::C) -> Result<Arc<K>, Failure> {
    let id = Id::from_pointer::<K>(handle.addr())?;
    let value = table_of::<K, _>(id, |table| table.get(id))?.ok_or_else(|| gone::<K>(handle.addr()))?;
    value.downcast().map_err(|_| gone::<K>(handle.addr()))
}

/// Takes a value back from C. `None` for NULL.
pub(crate) fn take<K: Kind>(handle: *const K::C) -> Result<Option<Arc<K>>, Failure> {
    if handle.is_null() {
        return Ok(None);
    }
    let id = Id::from_pointer::<K>(handle.addr())?;
    let value = table_of::<K, _>(id, |table| table.remove(id))?.ok_or_else(|| gone::<K>(handle.addr()))?;
    value.downcast().map(Some).map_err(|_| gone::<K>(handle.addr()))
}

/// Takes a value back from C and lets go of it. NULL is nothing.
pub(crate) fn free<K: Kind>(handle: *const K::C) -> sidestep_status {
    match crate::failure::guarded(|| take::<K>(handle)) {
        Ok(_) => SIDESTEP_OK,
        Err(failure) => failure.status,
    }
}

fn gone<K: Kind>(number: usize) -> Failure {
    let name = K::NAME;
    Failure::new(SIDESTEP_BAD_HANDLE, format!("{number:#x} is no {name} any more: it was freed"))
}

/// Looks at this process' table, if the handle is of it.
fn table_of<K: Kind, T>(id: Id, look: impl FnOnce(&Table) -> T) -> Result<T, Failure> {
    match &*TABLE.load() {
        Some(own) if own.pid == process::pid() && own.epoch == id.epoch() => Ok(look(&own.table)),
        Some(_) => {
            let message = format!("this {} was made before fork(), in the parent process", K::NAME);
            Err(Failure::new(SIDESTEP_FORKED, message))
        }
        None => Err(Failure::new(SIDESTEP_BAD_HANDLE, format!("no {} has been made yet", K::NAME))),
    }
}

/// The table that handles are added to: made with the first of a process.
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
                // What a parent process made has threads there alone: it cannot be ended here, and is left as it is.
                if let Some(parents) = Guard::into_inner(previous).filter(|process| process.pid != pid) {
                    std::mem::forget(parents);
                }
            }
        }
    }
}

fn wrong<K: Kind>() -> Failure {
    Failure::new(SIDESTEP_WRONG_HANDLE, format!("this handle is no {}", K::NAME))
}
