//! Asking for memory before it is needed.

/// Has the cache line where `value` begins brought near while the caller does something else. A
/// hint: nothing is read. Where the processor's hint has no stable name in Rust, nothing happens.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: any x86-64 processor knows the hint, which faults at no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
