//! Locks of the standard library without their poisoning.
//!
//! A mutex is poisoned when a thread panics while it holds the lock, and every later `lock()` then returns an error. This
//! project ignores that error, for two reasons:
//!
//! * Every critical section leaves its data valid at each step (it takes a value, pushes one, or assigns whole fields), so
//!   what a panic leaves behind is safe to read.
//! * A panic ends the run. The report must show the first panic; a second one about a poisoned lock, from a destructor or
//!   from another thread, would hide it.

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, whether it is poisoned or not.
#[inline]
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    ignore_poison(mutex.lock())
}

/// Returns the value of `result`, whether its mutex is poisoned or not. It serves `Mutex::into_inner`, `Mutex::get_mut` and
/// the waits of a `Condvar`; [`lock`] is shorter for a lock.
#[inline]
pub fn ignore_poison<T>(result: LockResult<T>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_poisoned_lock_is_still_usable() {
        let mutex = Mutex::new(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut value = lock(&mutex);
            *value = 2;
            panic!("while the lock is held");
        }));
        assert!(panicked.is_err() && mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 2);
        assert_eq!(ignore_poison(mutex.into_inner()), 2);
    }
}
