//! The allocations of `sidestep_getaddrinfo`. The allocator of this test binary counts them per thread.

use std::{
    ffi::{CStr, CString},
    ptr,
};

use allocation_counter::measure;
use libc::{AI_CANONNAME, SOCK_STREAM, addrinfo};
use mesh_sandbox::Sandbox;
use sidestep::{
    addresses::sidestep_freeaddrinfo,
    getaddrinfo::sidestep_getaddrinfo,
    mesh::{sidestep_join_vm_files, sidestep_mesh, sidestep_mesh_free, sidestep_wait_ready},
};

/// The arguments of a name resolution.
struct Arguments<'a> {
    node: &'a CStr,
    service: Option<&'a CStr>,
    hints: Option<addrinfo>,
}

fn hints(socket_type: i32, flags: i32) -> addrinfo {
    addrinfo {
        ai_flags: flags,
        ai_family: 0,
        ai_socktype: socket_type,
        ai_protocol: 0,
        ai_addrlen: 0,
        ai_addr: ptr::null_mut(),
        ai_canonname: ptr::null_mut(),
        ai_next: ptr::null_mut(),
    }
}

/// Resolves a name, and returns the number of allocations.
fn allocations(mesh: *const sidestep_mesh, arguments: &Arguments<'_>) -> u64 {
    let Arguments { node, service, hints } = arguments;
    let (mut list, mut code) = (ptr::null_mut(), -1);
    let used = measure(|| {
        let service = service.map_or(ptr::null(), CStr::as_ptr);
        let hints = hints.as_ref().map_or(ptr::null(), |hints| &raw const *hints);
        // SAFETY: the texts and hints are valid during the call, and `list` is a valid output.
        code = unsafe {
            sidestep_getaddrinfo(mesh, node.as_ptr(), service, hints, &raw mut list, ptr::null_mut())
        };
    });
    assert_eq!(code, 0);
    assert!(!list.is_null());
    // SAFETY: the library returned the list, and it is freed only once.
    unsafe { sidestep_freeaddrinfo(list) };
    used.count_total
}

fn joined(vm_files: &CStr) -> *mut sidestep_mesh {
    let mut mesh = ptr::null_mut();
    // SAFETY: the text is valid during the call, and `mesh` is a valid output.
    let joined = unsafe { sidestep_join_vm_files(vm_files.as_ptr(), &raw mut mesh, ptr::null_mut()) };
    // SAFETY: the output for the error is NULL.
    let ready = unsafe { sidestep_wait_ready(mesh, 30_000, ptr::null_mut()) };
    assert_eq!((joined, ready), (0, 0));
    mesh
}

#[test]
fn resolving_a_mesh_name_allocates_only_its_list() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sandbox = runtime.block_on(Sandbox::builder().without_reload().start()).unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let mesh = joined(&CString::new(vm.path().to_str().unwrap()).unwrap());
    let stream = Some(hints(SOCK_STREAM, 0));
    for node in [c"forecast.weather.svc.cluster.local", c"forecast.weather", c"Forecast.Weather."] {
        for (service, hints, expected) in
            [(Some(c"80"), stream, 1), (None, stream, 1), (None, None, 3), (Some(c"80"), None, 3)]
        {
            let arguments = Arguments { node, service, hints };
            // The first call allocates thread-local state, and a cache entry for the name.
            allocations(mesh, &arguments);
            assert_eq!(allocations(mesh, &arguments), expected, "{node:?} {service:?}");
        }
    }
    let named =
        Arguments { node: c"forecast.weather", service: None, hints: Some(hints(SOCK_STREAM, AI_CANONNAME)) };
    assert!(allocations(mesh, &named) > 1, "the allocator must count the name too");
    assert_eq!(sidestep_mesh_free(mesh), 0);
    runtime.block_on(sandbox.shutdown());
}
