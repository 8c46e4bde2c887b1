//! How the C library's allocator is told to keep the daemon small. Nothing here is needed for correctness.

/// One arena instead of one a thread, large pieces returned as soon as they are free, and little kept at the end of the
/// heap (mallopt(3)). On a gateway with 20 devices and 2 000 signals this is worth 1.5 MB of 14; other C libraries
/// than glibc do so by themselves.
pub fn keep_small() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE)]
    {
        // SAFETY: mallopt only sets parameters of the allocator, and is called before any other thread is started.
        #[expect(unsafe_code, reason = "libc has no safe mallopt")]
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}

/// From here on a piece of memory is a mapping of its own.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 64 << 10;

/// Returns to the system what start-up used and left behind: parsing a configuration takes several times its size.
pub fn return_unused() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    #[expect(unsafe_code, reason = "libc has no safe malloc_trim")]
    unsafe {
        libc::malloc_trim(0);
    }
}
