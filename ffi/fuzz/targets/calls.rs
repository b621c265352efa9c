//! Makes arbitrary calls with arbitrary arguments, and checks the status, the error and the outputs of each call. The
//! mesh has no istiod, so that no call leaves this process.
#![no_main]

use std::{
    ffi::{CString, c_char, c_int, c_void},
    fs, ptr,
    sync::OnceLock,
};

use libc::addrinfo;
use sidestep::{
    addresses::sidestep_freeaddrinfo,
    bridge::{listen::*, resolve::*, *},
    completion::sidestep_completion,
    connect::sidestep_connect,
    connection::*,
    dns::*,
    error::*,
    explain::*,
    getaddrinfo::sidestep_getaddrinfo,
    mesh::*,
    metrics::sidestep_metrics,
    queue::{bridge_operations::*, dns_operations::*, start::*, *},
    settings::*,
    status::*,
    stream::*,
    text::*,
};
use sidestep_ffi_fuzz::Run;
use tempfile::TempDir;

const CALLS: u8 = 50;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut run = Run::new(bytes);
    join(&mut run);
    while let Some(call) = run.next(CALLS) {
        // SAFETY: all pointers are NULL or valid, or handles, which the library does not dereference.
        unsafe { make(&mut run, call) };
    }
    end(&run);
});

/// Creates settings and a mesh.
fn join(run: &mut Run<'_>) {
    let (mut settings, mut mesh) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: valid pointers.
    unsafe {
        assert_eq!(sidestep_settings_new(&mut settings, ptr::null_mut()), SIDESTEP_OK);
        for (key, value) in [
            (c"istiod-address", c"127.0.0.1:1".to_owned()),
            (c"upstream-dns", c"127.0.0.1:1".to_owned()),
            (c"connect-timeout-ms", c"1".to_owned()),
            (c"join-timeout-ms", c"1".to_owned()),
            (c"namespace", c"vms".to_owned()),
            (c"service-account", c"edge-app".to_owned()),
            (c"token-file", file("token")),
            (c"roots-file", file("roots.pem")),
        ] {
            let set = sidestep_settings_set(settings, key.as_ptr(), value.as_ptr(), ptr::null_mut());
            assert_eq!(set, SIDESTEP_OK);
        }
        assert_eq!(sidestep_join(settings, &mut mesh, ptr::null_mut()), SIDESTEP_OK);
    }
    run.handles.extend([settings.cast(), mesh.cast()]);
}

/// Returns the path of a file that is required to join.
fn file(name: &str) -> CString {
    static FILES: OnceLock<TempDir> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let root = rcgen::generate_simple_self_signed(["istiod".to_owned()]).expect("a certificate");
        fs::write(dir.path().join("token"), "a.b.c").expect("a file");
        fs::write(dir.path().join("roots.pem"), root.cert.pem()).expect("a file");
        dir
    });
    CString::new(files.path().join(name).into_os_string().into_encoded_bytes()).expect("a path")
}

unsafe extern "C" fn log(_: *mut c_void, level: i32, line: *const c_char) {
    assert!((1..=5).contains(&level) && !line.is_null());
}

/// Makes a call that creates an object.
fn creates<C>(
    run: &mut Run<'_>,
    call: impl FnOnce(*mut *mut C, *mut *mut sidestep_error) -> sidestep_status,
) {
    let mut created = None;
    let output = run.output(&mut created, ptr::without_provenance_mut(0xBAD));
    let succeeded = run.call(|err| call(output, err));
    run.created(created, succeeded);
}

/// Makes a call that resolves a name.
fn resolves(
    run: &mut Run<'_>,
    call: impl FnOnce(*const addrinfo, *mut *mut addrinfo, *mut *mut sidestep_error) -> c_int,
) {
    // SAFETY: all zero is a valid `addrinfo`.
    let mut hints: addrinfo = unsafe { std::mem::zeroed() };
    let (flags, family) = (run.number(), run.number());
    hints.ai_flags = run.one_of(&[0, libc::AI_CANONNAME, libc::AI_NUMERICHOST, libc::AI_PASSIVE, flags]);
    hints.ai_family = run.one_of(&[libc::AF_UNSPEC, libc::AF_INET, libc::AF_INET6, family]);
    hints.ai_socktype = run.one_of(&[0, libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW, family]);
    let hints = if run.yes() { &raw const hints } else { ptr::null() };
    let mut list = None;
    let output = run.output(&mut list, ptr::without_provenance_mut(0xBAD));
    run.call(|err| {
        let eai = call(hints, output, err);
        let list = list.unwrap_or(ptr::null_mut());
        assert_eq!(eai == 0, !list.is_null(), "eai {eai}");
        // SAFETY: the call returned the list.
        unsafe { sidestep_freeaddrinfo(list) };
        let mut status = SIDESTEP_OK;
        // SAFETY: the output for the error is NULL or valid.
        if let Some(error) = unsafe { err.as_ref() } {
            status = sidestep_error_status(*error);
            assert_eq!(eai == 0, error.is_null());
        }
        if eai == 0 { SIDESTEP_OK } else { status }
    });
}

/// Fetches a completion, and checks and frees its contents.
unsafe fn fetch(run: &mut Run<'_>) {
    let queue = run.handle();
    let size = run.number();
    let size = run.one_of(&[size_of::<sidestep_completion>(), size_of::<sidestep_completion>(), 0, size]);
    let mut completion = None;
    // SAFETY: all zero is a valid completion.
    let output = run.output(&mut completion, unsafe { std::mem::zeroed::<sidestep_completion>() });
    // SAFETY: the output is NULL or valid.
    let succeeded = run.call(|err| unsafe { sidestep_queue_next(queue, output, size, err) });
    let Some(completion) = completion.filter(|_| succeeded) else { return };
    assert!(completion.fd == -1 && completion.stream.is_null(), "no connection succeeds without istiod");
    assert_eq!(completion.reserved, 0);
    assert_eq!(completion.error.is_null(), completion.status == SIDESTEP_OK);
    assert!(completion.eai == 0 || completion.status != SIDESTEP_OK);
    assert_eq!(sidestep_error_free(completion.error), SIDESTEP_OK);
    assert_eq!(sidestep_text_free(completion.text), SIDESTEP_OK);
    assert_eq!(sidestep_dns_free(completion.dns), SIDESTEP_OK);
    run.created(Some(completion.bridge), true);
    // SAFETY: the completion contains the list, or NULL.
    unsafe { sidestep_freeaddrinfo(completion.addresses) };
}

/// Starts an operation.
fn starts(
    run: &mut Run<'_>,
    start: impl FnOnce(*mut c_void, *mut u64, *mut *mut sidestep_error) -> sidestep_status,
) {
    let (user_data, mut number) = (run.number::<usize>(), None);
    let output = run.output(&mut number, 0);
    let succeeded = run.call(|err| start(user_data as *mut c_void, output, err));
    assert!(number.is_none_or(|number| succeeded == (number != 0)));
}

#[expect(clippy::too_many_lines, reason = "one arm for each function")]
unsafe fn make(run: &mut Run<'_>, call: u8) {
    let (host, port, flags) = (run.text(), run.number::<u16>(), run.flags());
    match call {
        0 => creates(run, |output, err| unsafe { sidestep_settings_new(output, err) }),
        1 | 2 => {
            let (settings, key, value) = (run.handle(), run.text(), run.harmless());
            run.call(|err| unsafe { sidestep_settings_set(settings, key, value, err) });
        }
        3 => {
            let (settings, level) = (run.handle(), run.number::<i32>());
            let level = run.one_of(&[1, 3, 5, level]);
            run.call(|err| unsafe {
                sidestep_settings_log(settings, level, Some(log), ptr::null_mut(), err)
            });
        }
        4 => {
            let settings = run.handle();
            creates(run, |output, err| unsafe { sidestep_join(settings, output, err) });
        }
        5 => {
            let folder = run.harmless();
            creates(run, |output, err| unsafe { sidestep_join_vm_files(folder, output, err) });
        }
        6 => {
            let (mesh, time) = (run.handle(), run.blocking_timeout());
            run.call(|err| unsafe { sidestep_wait_ready(mesh, time, err) });
        }
        7 => {
            let (mesh, time) = (run.handle(), run.blocking_timeout());
            run.call(|err| unsafe { sidestep_shutdown(mesh, time, err) });
        }
        8 => {
            let mesh = run.handle();
            creates(run, |output, err| unsafe { sidestep_health(mesh, output, err) });
        }
        9 => {
            let mesh = run.handle();
            creates(run, |output, err| unsafe { sidestep_metrics(mesh, output, err) });
        }
        10 => {
            let mesh = run.handle();
            creates(run, |output, err| unsafe { sidestep_explain(mesh, host, port, flags, output, err) });
        }
        11 => {
            let (mesh, time, mut fd) = (run.handle(), run.blocking_timeout(), None);
            let output = run.output(&mut fd, 7);
            let succeeded =
                run.call(|err| unsafe { sidestep_connect(mesh, host, port, flags, time, output, err) });
            assert!(!succeeded && fd.is_none_or(|fd| fd == -1), "no connection succeeds without istiod");
        }
        12 => {
            let (mesh, fd) = (run.handle(), run.number::<i32>());
            let fd = run.one_of(&[-1, 0, 1, 2, i32::MIN, i32::MAX, fd]);
            creates(run, |output, err| unsafe { sidestep_connection_info(mesh, fd, output, err) });
        }
        13 => {
            let (mesh, time) = (run.handle(), run.blocking_timeout());
            creates(run, |output, err| unsafe {
                sidestep_stream_connect(mesh, host, port, flags, time, output, err)
            });
        }
        14 | 15 => {
            let (stream, time, mut buffer) = (run.handle(), run.blocking_timeout(), [0_u8; 64]);
            let any = run.number::<usize>();
            let (data, size) =
                run.one_of(&[(buffer.as_mut_ptr(), 64), (ptr::null_mut(), 0), (ptr::null_mut(), any)]);
            let mut count = None;
            let output = run.output(&mut count, 99);
            let succeeded = run.call(|err| unsafe {
                match call {
                    14 => sidestep_stream_read(stream, data, size, time, output, err),
                    _ => sidestep_stream_write(stream, data, size, time, output, err),
                }
            });
            assert!(!succeeded && count.is_none_or(|count| count == 0), "no connection succeeds without istiod");
        }
        16 => {
            let (stream, time) = (run.handle(), run.blocking_timeout());
            run.call(|err| unsafe { sidestep_stream_shutdown(stream, time, err) });
        }
        17 => {
            let stream = run.handle();
            creates(run, |output, err| unsafe { sidestep_stream_info(stream, output, err) });
        }
        18 | 19 => {
            let (mesh, node, service) = (run.handle(), run.harmless(), run.text());
            resolves(run, |hints, output, err| unsafe {
                sidestep_getaddrinfo(mesh, node, service, hints, output, err)
            });
        }
        20 => {
            let (bridge, node, service) = (run.handle(), run.harmless(), run.text());
            resolves(run, |hints, output, err| unsafe {
                sidestep_bridge_getaddrinfo(bridge, node, service, hints, output, err)
            });
        }
        21 => {
            let mesh = run.handle();
            creates(run, |output, err| unsafe { sidestep_queue_new(mesh, output, err) });
        }
        22 => {
            let queue = run.handle();
            let fd = sidestep_queue_fd(queue);
            assert!(fd >= -1);
        }
        23 | 24 => unsafe { fetch(run) },
        25 => {
            let (queue, number) = (run.handle(), run.number());
            run.call(|err| unsafe { sidestep_queue_cancel(queue, number, err) });
        }
        26 => {
            let (queue, time) = (run.handle(), run.timeout());
            starts(run, |data, output, err| unsafe {
                sidestep_queue_wait_ready(queue, time, data, output, err)
            });
        }
        27 => {
            let (queue, time) = (run.handle(), run.timeout());
            starts(run, |data, output, err| unsafe {
                sidestep_queue_connect(queue, host, port, flags, time, data, output, err)
            });
        }
        28 => {
            let (queue, service) = (run.handle(), run.text());
            starts(run, |data, output, err| unsafe {
                sidestep_queue_getaddrinfo(queue, host, service, ptr::null(), data, output, err)
            });
        }
        29 => {
            let (queue, bridge, service) = (run.handle(), run.handle(), run.text());
            starts(run, |data, output, err| unsafe {
                sidestep_queue_bridge_getaddrinfo(queue, bridge, host, service, ptr::null(), data, output, err)
            });
        }
        30 => {
            let queue = run.handle();
            starts(run, |data, output, err| unsafe {
                sidestep_queue_explain(queue, host, port, flags, data, output, err)
            });
        }
        31 => {
            let (queue, time) = (run.handle(), run.timeout());
            starts(run, |data, output, err| unsafe { sidestep_queue_shutdown(queue, time, data, output, err) });
        }
        32 => {
            let (mesh, access) = (run.handle(), run.number::<i32>());
            let access = run.one_of(&[0, 1, 2, 3, access]);
            creates(run, |output, err| unsafe { sidestep_bridge_start(mesh, access, output, err) });
        }
        33 => {
            let bridge = run.handle();
            let (socks, http) = (sidestep_bridge_socks_url(bridge), sidestep_bridge_http_url(bridge));
            assert_eq!(socks.is_null(), http.is_null());
        }
        34 => {
            let (bridge, path) = (run.handle(), run.harmless());
            run.call(|err| unsafe { sidestep_bridge_listen_unix(bridge, path, host, port, flags, err) });
        }
        35 => {
            let (bridge, path) = (run.handle(), run.harmless());
            run.call(|err| unsafe { sidestep_bridge_listen_postgres(bridge, path, host, port, err) });
        }
        36 => {
            let (bridge, mut local_port, mut address) = (run.handle(), None, [1; 46]);
            let output = run.output(&mut local_port, port);
            let buffer = if run.yes() { address.as_mut_ptr() } else { ptr::null_mut() };
            run.call(|err| unsafe {
                sidestep_bridge_listen_local(bridge, host, port, flags, buffer, output, err)
            });
        }
        37 => {
            let (mesh, address, bridge) = (run.handle(), run.harmless(), run.handle());
            creates(run, |output, err| unsafe { sidestep_dns_start(mesh, address, bridge, output, err) });
        }
        38 => _ = sidestep_dns_port(run.handle()),
        39 => {
            let (text, info, what) = (run.handle(), run.handle(), run.number());
            let _ = (sidestep_text_get(text), sidestep_info_get(info, what), sidestep_errno(what));
            assert!(!sidestep_status_name(what).is_null() && !sidestep_status_text(what).is_null());
            assert!((0..=1).contains(&sidestep_error_is_transient(run.handle())));
        }
        40 => {
            let (queue, time) = (run.handle(), run.timeout());
            starts(run, |data, output, err| unsafe {
                sidestep_queue_stream_connect(queue, host, port, flags, time, data, output, err)
            });
        }
        41 => {
            let (queue, access) = (run.handle(), run.number::<i32>());
            let access = run.one_of(&[0, 1, 2, 3, access]);
            starts(run, |data, output, err| unsafe {
                sidestep_queue_bridge_start(queue, access, data, output, err)
            });
        }
        42 => {
            let (queue, bridge, path) = (run.handle(), run.handle(), run.harmless());
            starts(run, |data, output, err| unsafe {
                sidestep_queue_bridge_listen_unix(queue, bridge, path, host, port, flags, data, output, err)
            });
        }
        43 => {
            let (queue, bridge, path) = (run.handle(), run.handle(), run.harmless());
            starts(run, |data, output, err| unsafe {
                sidestep_queue_bridge_listen_postgres(queue, bridge, path, host, port, data, output, err)
            });
        }
        44 => {
            let (queue, bridge, local_port) = (run.handle(), run.handle(), run.number());
            let local_port = run.one_of(&[0, port, local_port]);
            starts(run, |data, output, err| unsafe {
                sidestep_queue_bridge_listen_local(
                    queue, bridge, host, port, flags, local_port, data, output, err,
                )
            });
        }
        45 => {
            let (queue, address, bridge) = (run.handle(), run.harmless(), run.handle());
            starts(run, |data, output, err| unsafe {
                sidestep_queue_dns_start(queue, address, bridge, data, output, err)
            });
        }
        _ => frees(run),
    }
}

/// The functions that free an object. Each rejects handles of another type.
const FREES: [fn(*mut c_void) -> sidestep_status; 9] = [
    |handle| sidestep_mesh_free(handle.cast()),
    |handle| sidestep_settings_free(handle.cast()),
    |handle| sidestep_queue_free(handle.cast()),
    |handle| sidestep_bridge_free(handle.cast()),
    |handle| sidestep_dns_free(handle.cast()),
    |handle| sidestep_stream_free(handle.cast()),
    |handle| sidestep_info_free(handle.cast()),
    |handle| sidestep_text_free(handle.cast()),
    |handle| sidestep_error_free(handle.cast()),
];

fn frees(run: &mut Run<'_>) {
    let (free, handle) = (run.one_of(&FREES), run.handle());
    let _ = free(handle);
}

fn end(run: &Run<'_>) {
    for handle in run.handles.iter().rev() {
        let freed = FREES.iter().filter(|free| free(*handle) == SIDESTEP_OK).count();
        assert!(freed <= 1);
    }
}
