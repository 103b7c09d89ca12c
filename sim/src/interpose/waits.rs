//! Waits that hold the thread, which a simulation refuses: no virtual time passes in them.

#[cfg(not(target_feature = "crt-static"))]
use super::original::Original;
use crate::misuse::{self, Foreign};

#[cfg(not(target_feature = "crt-static"))]
type Getaddrinfo = unsafe extern "C" fn(
    *const libc::c_char,
    *const libc::c_char,
    *const libc::addrinfo,
    *mut *mut libc::addrinfo,
) -> libc::c_int;

#[cfg(not(target_feature = "crt-static"))]
static GETADDRINFO: Original = Original::named(c"getaddrinfo");

/// Replaces libc's `nanosleep`: a thread of a simulation does not sleep. Elsewhere it is the system call, with its `errno`.
///
/// # Safety
///
/// `time` points to a `timespec`, and `left` to a writable one or nowhere, as for the original.
#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const libc::timespec, left: *mut libc::timespec) -> libc::c_int {
    if misuse::refuses(Foreign::Sleep) {
        return 0;
    }
    // SAFETY: the arguments are the caller's, for the system call they were meant for.
    unsafe { libc::syscall(libc::SYS_nanosleep, time, left) as libc::c_int }
}

/// Replaces libc's `clock_nanosleep` in the same way. It returns its error and sets no `errno`.
///
/// # Safety
///
/// `time` points to a `timespec`, and `left` to a writable one or nowhere, as for the original.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: libc::clockid_t,
    flags: libc::c_int,
    time: *const libc::timespec,
    left: *mut libc::timespec,
) -> libc::c_int {
    if misuse::refuses(Foreign::Sleep) {
        return 0;
    }
    // SAFETY: the arguments are the caller's, for the system call they were meant for.
    let slept = unsafe { libc::syscall(libc::SYS_clock_nanosleep, clock, flags, time, left) };
    if slept == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL) }
}

/// Replaces libc's `getaddrinfo`: code of a simulation resolves no name. Elsewhere it is libc's.
///
/// A program that is linked statically keeps libc's own: the file of the library that has it has `freeaddrinfo`, too.
///
/// # Safety
///
/// The arguments are those of the original.
#[cfg(not(target_feature = "crt-static"))]
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const libc::c_char,
    service: *const libc::c_char,
    hints: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
) -> libc::c_int {
    if misuse::refuses(Foreign::Name) {
        return libc::EAI_FAIL;
    }
    let original = GETADDRINFO.address();
    if original.is_null() {
        return libc::EAI_FAIL;
    }
    // SAFETY: the address is that of libc's function, which has this type.
    let original = unsafe { std::mem::transmute::<*mut libc::c_void, Getaddrinfo>(original) };
    // SAFETY: the arguments are the caller's, for the function they were meant for.
    unsafe { original(node, service, hints, found) }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what is refused is what is tested")]
mod tests {
    use std::{
        net::ToSocketAddrs,
        thread,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn a_simulation_neither_sleeps_nor_resolves_names() {
        let simulation = thread::spawn(|| {
            let refusing = misuse::Refusing::begin();
            thread::sleep(Duration::from_secs(3_600));
            let first = misuse::take_refused();
            let found = "localhost:80".to_socket_addrs().is_ok();
            let second = misuse::take_refused();
            drop(refusing);
            let begun = Instant::now();
            thread::sleep(Duration::from_millis(2));
            (first, found, second, begun.elapsed(), misuse::take_refused())
        });
        let (first, found, second, slept, third) = simulation.join().unwrap();
        assert_eq!((first, found, second), (Some(Foreign::Sleep), false, Some(Foreign::Name)));
        assert_eq!((slept >= Duration::from_millis(2), third), (true, None));
        assert!("127.0.0.1:80".to_socket_addrs().is_ok() && "localhost:80".to_socket_addrs().is_ok());
    }

    #[test]
    fn a_sleep_that_fails_keeps_its_error() {
        let no_time = libc::timespec { tv_sec: 0, tv_nsec: -1 };
        // SAFETY: the time is a `timespec`, though none that can be slept.
        let slept = unsafe { nanosleep(&no_time, std::ptr::null_mut()) };
        assert_eq!((slept, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EINVAL)));
        // SAFETY: as above.
        let slept = unsafe { clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &no_time, std::ptr::null_mut()) };
        assert_eq!(slept, libc::EINVAL);
    }
}
