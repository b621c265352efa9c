//! Handles, which C programs hold instead of pointers.
//!
//! A handle has a pointer type, but it is a number: a serial number, and the type of the object. The library never
//! dereferences it, and uses each serial number once. So a call with a handle that was freed, has another type
//! or is not a handle at all returns a status code. A call holds a reference to the object, so another thread can free
//! the handle during the call.
//!
//! The table is the only state that all meshes of a process share. A forked child may inherit the lock of the table in
//! any state, so the child does not use the table: handles of the parent give `SIDESTEP_E_FORKED`, and new handles are
//! in a new table, whose numbers start where the parent's ended.

mod process;
mod table;

use std::{any::Any, sync::Arc};

use arc_swap::{ArcSwapOption, Guard};

use self::{
    process::Process,
    table::{Id, Table},
};
use crate::{
    failure::{Failure, guarded},
    status::{
        SIDESTEP_E_BAD_HANDLE, SIDESTEP_E_FORKED, SIDESTEP_E_SYSTEM, SIDESTEP_E_WRONG_HANDLE, SIDESTEP_OK,
        sidestep_status,
    },
};

/// A type of object that C programs hold a handle to.
pub(crate) trait Kind: Send + Sync + Sized + 'static {
    /// The type of the handle in the C header.
    type C;
    /// The number of the type in a handle, 1 to 15. No two types have the same number.
    const TAG: u8;
    /// The name of the type of the handle in the C header.
    const NAME: &'static str;
    /// The number of handles of this type above which the program probably forgets to free them. The library logs a
    /// warning at this number, and whenever the number has doubled.
    const MANY: usize = usize::MAX;

    /// Writes a warning to the log of the object. Only a mesh has a log.
    ///
    /// Must not use handles, because the table of handles is locked during the call.
    fn warn(&self, _warning: &str) {}
}

/// The number of handles of one type above which no more are created. Without this limit, a program that never frees
/// its error objects would use all memory.
const LIMIT: usize = 1 << 20;

static TABLE: ArcSwapOption<Handles> = ArcSwapOption::const_empty();

/// The identity of a process, and the handles that the process has created.
struct Handles {
    process: Process,
    table: Table,
}

/// Creates a handle for an object. Fails if the program has a million handles of this type.
pub(crate) fn create<K: Kind>(value: K) -> Result<*mut K::C, Failure> {
    let own = own();
    let created = own.table.insert(Arc::new(value)).ok_or_else(too_many::<K>)?;
    if let Some(count) = created.leak {
        own.table.warn(&format!(
            "the program has {count} {0} objects that it has not freed; free each with {0}_free",
            K::NAME
        ));
    }
    Ok(created.id.to_pointer())
}

/// Returns the object of a handle.
pub(crate) fn get<K: Kind>(handle: *const K::C) -> Result<Arc<K>, Failure> {
    let id = Id::from_pointer::<K>(handle.addr())?;
    let object = with_table::<K, _>(id, |table| table.get(id))?.ok_or_else(|| freed::<K>(handle.addr()))?;
    (object as Arc<dyn Any + Send + Sync>).downcast().map_err(|_| freed::<K>(handle.addr()))
}

/// Returns what `read` returns for the object of a handle, or `fallback` if the handle is invalid. This is for functions
/// that report no failure.
pub(crate) fn read<K: Kind, T>(handle: *const K::C, fallback: T, read: impl FnOnce(&K) -> T) -> T {
    // The object may be dropped inside, because another thread may free the handle.
    guarded(|| Ok(read(&*get::<K>(handle)?))).unwrap_or(fallback)
}

/// Removes a handle and drops its object. Does nothing for NULL.
pub(crate) fn free<K: Kind>(handle: *const K::C) -> sidestep_status {
    free_after(handle, |_: &K| ())
}

/// Removes a handle, calls `work` with its object, and drops the object. Does nothing for NULL.
pub(crate) fn free_after<K: Kind>(handle: *const K::C, work: impl FnOnce(&K)) -> sidestep_status {
    // The object is dropped inside, because its `drop` may panic.
    let freed = guarded(|| {
        if !handle.is_null() {
            work(&*remove::<K>(handle)?);
        }
        Ok(())
    });
    freed.map_or_else(|failure| failure.status, |()| SIDESTEP_OK)
}

fn remove<K: Kind>(handle: *const K::C) -> Result<Arc<K>, Failure> {
    let id = Id::from_pointer::<K>(handle.addr())?;
    let object =
        with_table::<K, _>(id, |table| table.remove(id))?.ok_or_else(|| freed::<K>(handle.addr()))?;
    (object as Arc<dyn Any + Send + Sync>).downcast().map_err(|_| freed::<K>(handle.addr()))
}

fn freed<K: Kind>(number: usize) -> Failure {
    let message = format!("the {} {number:#x} was freed", K::NAME);
    Failure::new(SIDESTEP_E_BAD_HANDLE, message)
}

fn too_many<K: Kind>() -> Failure {
    let message = format!("the program has {LIMIT} {} objects that it has not freed", K::NAME);
    let next_step = format!("free each object with {}_free when it is no longer used", K::NAME);
    Failure { next_step, ..Failure::new(SIDESTEP_E_SYSTEM, message) }
}

/// Calls `work` with this process' table. Fails if the handle belongs to a parent process.
fn with_table<K: Kind, T>(id: Id, work: impl FnOnce(&Table) -> T) -> Result<T, Failure> {
    match &*TABLE.load() {
        Some(own) if own.process.is_current() && own.table.may_contain(id) => Ok(work(&own.table)),
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

/// Returns this process' table of handles. The first call in a process creates the table.
fn own() -> Arc<Handles> {
    loop {
        let current = TABLE.load();
        match &*current {
            Some(own) if own.process.is_current() => return own.clone(),
            parent => {
                let process = Process::enter(parent.as_ref().map(|parent| parent.process));
                let table = Table::new(parent.as_ref().map(|parent| &parent.table), LIMIT);
                let new = Arc::new(Handles { process, table });
                let previous = TABLE.compare_and_swap(&current, Some(new));
                // The threads of the parent's objects run only in the parent. Dropping the objects here would wait for them.
                if let Some(parent) = Guard::into_inner(previous).filter(|own| !own.process.is_current()) {
                    std::mem::forget(parent);
                }
            }
        }
    }
}

fn wrong<K: Kind>() -> Failure {
    Failure::new(SIDESTEP_E_WRONG_HANDLE, format!("the handle is not a {}", K::NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plum;

    impl Kind for Plum {
        type C = ();
        const TAG: u8 = 14;
        const NAME: &'static str = "plum";
    }

    /// Checks that the handles of all ancestors are recognised. Then does the same in a child, `depth` times.
    fn check_chain(ancestors: &mut Vec<*mut ()>, depth: u32) -> bool {
        let is_forked = |handle: &*mut ()| {
            get::<Plum>(*handle).err().is_some_and(|failure| failure.status == SIDESTEP_E_FORKED)
        };
        let before = ancestors.iter().all(is_forked);
        let own = create(Plum).unwrap();
        if !before || !ancestors.iter().all(is_forked) || get::<Plum>(own).is_err() {
            return false;
        }
        ancestors.push(own);
        if depth == 0 {
            return true;
        }
        // SAFETY: the child only uses handles, and ends without running exit handlers.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_right = check_chain(ancestors, depth - 1);
            // SAFETY: `_exit` is safe to call at any time.
            unsafe { libc::_exit(i32::from(!is_right)) };
        }
        let mut status = -1;
        // SAFETY: `child` is a child of this process, and `status` is a valid output.
        unsafe { libc::waitpid(child, &raw mut status, 0) == child && status == 0 }
    }

    #[test]
    fn every_process_of_a_long_chain_of_forks_recognises_the_handles_of_its_ancestors() {
        assert!(check_chain(&mut Vec::new(), 40));
    }

    #[test]
    fn a_failed_free_of_an_object_is_a_status() {
        struct Rotten;

        impl Kind for Rotten {
            type C = ();
            const TAG: u8 = 12;
            const NAME: &'static str = "rotten";
        }

        impl Drop for Rotten {
            fn drop(&mut self) {
                panic!("rotten");
            }
        }

        let handle = create(Rotten).unwrap();
        assert_eq!(free::<Rotten>(handle), crate::status::SIDESTEP_E_PANIC);
        assert_eq!(free::<Rotten>(handle), SIDESTEP_E_BAD_HANDLE);
    }
}
