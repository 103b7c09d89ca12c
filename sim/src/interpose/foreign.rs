//! Threads and sockets, which a simulation refuses: no virtual time decides when they do what they do.

use super::original::Original;
use crate::{
    misuse::{self, Foreign},
    process::turn,
};

type Start = extern "C" fn(*mut libc::c_void) -> *mut libc::c_void;

type PthreadCreate =
    unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Start, *mut libc::c_void) -> libc::c_int;

/// The original, and the error if there is none.
static PTHREAD_CREATE: Original = Original::named(c"pthread_create");

/// Replaces libc's `pthread_create`: a thread that code of a simulation starts ends the run. Elsewhere it is libc's. A fuzz target's
/// sanitizer has one of its own.
///
/// # Safety
///
/// The arguments are those of the original.
#[cfg_attr(not(feature = "fuzzing"), unsafe(no_mangle))]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut libc::c_void,
) -> libc::c_int {
    // Outside of the turn of a process, the thread starts all the same, and the run ends behind the step: a runtime whose clock is paused does
    // not move it while it has work for a thread, and would wait for one that it did not get.
    if misuse::refuses(Foreign::Thread) && turn::is_any() {
        return libc::EAGAIN;
    }
    let original = PTHREAD_CREATE.address();
    if original.is_null() {
        // SAFETY: the arguments are the caller's, for the function they were meant for.
        return unsafe { statically_linked(thread, attributes, start, argument) };
    }
    // SAFETY: the address is that of libc's function, which has this type.
    let original = unsafe { std::mem::transmute::<*mut libc::c_void, PthreadCreate>(original) };
    // SAFETY: the arguments are the caller's, for the function they were meant for.
    unsafe { original(thread, attributes, start, argument) }
}

#[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
unsafe extern "C" {
    /// The name that glibc gives its `pthread_create` beside that one, which is weak in the static library.
    #[link_name = "__pthread_create_2_1"]
    fn statically_linked(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        start: Start,
        argument: *mut libc::c_void,
    ) -> libc::c_int;
}

/// Stands for the original where there is none.
#[cfg(not(all(target_feature = "crt-static", target_env = "gnu")))]
unsafe fn statically_linked(
    _: *mut libc::pthread_t,
    _: *const libc::pthread_attr_t,
    _: Start,
    _: *mut libc::c_void,
) -> libc::c_int {
    libc::ENOSYS
}

/// Replaces libc's `socket`: code of a simulation opens no socket of the operating system. Elsewhere it is the system call, with its `errno`.
///
/// # Safety
///
/// None is needed: the arguments are numbers.
#[unsafe(no_mangle)]
unsafe extern "C" fn socket(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> libc::c_int {
    if misuse::refuses(Foreign::Socket) {
        // SAFETY: the address is that of this thread's `errno`.
        unsafe { *libc::__errno_location() = libc::EACCES };
        return -1;
    }
    // SAFETY: the arguments are the caller's, for the system call they were meant for.
    unsafe { libc::syscall(libc::SYS_socket, domain, kind, protocol) as libc::c_int }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "what is refused is what is tested")]
mod tests {
    use std::{io::ErrorKind, net::UdpSocket, thread};

    use super::*;

    #[test]
    fn a_simulation_starts_no_thread_and_opens_no_socket() {
        assert!(UdpSocket::bind("127.0.0.1:0").is_ok());
        let simulation = thread::spawn(|| {
            let refusing = misuse::Refusing::begin();
            let start = || thread::Builder::new().spawn(|| ()).map(drop).map_err(|error| error.raw_os_error());
            let outside = (start(), misuse::take_refused());
            assert_eq!(outside, (Ok(()), Some(Foreign::Thread)), "outside of a turn it is only noted");
            let thread = turn::within((0, 0), start);
            let first = misuse::take_refused();
            let socket = UdpSocket::bind("127.0.0.1:0").map(drop).map_err(|error| error.kind());
            let second = misuse::take_refused();
            let third = misuse::take_refused();
            drop(refusing);
            let after = thread::Builder::new().spawn(|| ()).is_ok();
            (thread, first, socket, second, third, after)
        });
        let (thread, first, socket, second, third, after) = simulation.join().unwrap();
        assert_eq!((thread, first), (Err(Some(libc::EAGAIN)), Some(Foreign::Thread)));
        assert_eq!((socket, second, third), (Err(ErrorKind::PermissionDenied), Some(Foreign::Socket), None));
        assert!(after);
    }
}
