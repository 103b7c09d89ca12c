//! The functions of the C library that are replaced here.

use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// A function of the C library, which is looked up when it is first needed.
pub(super) struct Original {
    name: &'static std::ffi::CStr,
    found: AtomicPtr<libc::c_void>,
}

impl Original {
    pub(super) const fn named(name: &'static std::ffi::CStr) -> Self {
        Self { name, found: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Returns the address of the function; null if the C library is linked statically and so has no second one of this name.
    pub(super) fn address(&self) -> *mut libc::c_void {
        let found = self.found.load(Relaxed);
        if !found.is_null() || cfg!(target_feature = "crt-static") {
            return found;
        }
        // SAFETY: the name is a C string. What is found after this program's own symbol is libc's.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Relaxed);
        found
    }
}
