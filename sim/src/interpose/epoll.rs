//! The wait of a runtime for events, which ends a process's turn.

use super::original::Original;
use crate::process::turn;

type EpollWait = unsafe extern "C" fn(libc::c_int, *mut libc::epoll_event, libc::c_int, libc::c_int) -> libc::c_int;

static ORIGINAL: Original = Original::named(c"epoll_wait");

/// Replaces libc's `epoll_wait`: within the turn of a simulated process it has no events, and notes the time until which the runtime wants to
/// wait. Elsewhere it is libc's, with its `errno`.
///
/// # Safety
///
/// `events` points to room for `capacity` events, as for the original.
#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_wait(
    epoll: libc::c_int,
    events: *mut libc::epoll_event,
    capacity: libc::c_int,
    timeout_ms: libc::c_int,
) -> libc::c_int {
    if turn::parks(timeout_ms) {
        return 0;
    }
    let original = ORIGINAL.address();
    if original.is_null() {
        // SAFETY: the arguments are the caller's, for the system call that the function makes. Without a mask it is the same.
        let ready = unsafe {
            let no_mask = std::ptr::null::<libc::sigset_t>();
            libc::syscall(libc::SYS_epoll_pwait, epoll, events, capacity, timeout_ms, no_mask, 0_usize)
        };
        return ready as libc::c_int;
    }
    // SAFETY: the address is that of libc's function, which has this type.
    let original = unsafe { std::mem::transmute::<*mut libc::c_void, EpollWait>(original) };
    // SAFETY: the arguments are the caller's, for the function they were meant for.
    unsafe { original(epoll, events, capacity, timeout_ms) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_wait_that_fails_keeps_its_error() {
        // SAFETY: no event is written behind a null pointer, as the descriptor is none.
        let ready = unsafe { super::epoll_wait(-1, std::ptr::null_mut(), 1, 0) };
        assert_eq!((ready, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EBADF)));
    }
}
