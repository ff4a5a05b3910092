//! Giving memory back to the system.
//!
//! The allocator keeps what is freed for what comes next, and looks at it again only while it
//! allocates: a shard whose clients have all left, and that sleeps, would hold their memory until
//! the next storm. So a shard looks how much less it holds than it once did, and when that is a
//! good part and stays so for a moment, it lets go of its spare buffers and has its heap returned.

/// How long what was freed may be wanted again at once, in milliseconds.
const PATIENCE_MS: u64 = 500;
/// The last of those who left are gone for good by then, in milliseconds: closing takes up to three
/// seconds.
const AFTERWARDS_MS: u64 = 4_000;
/// Less than this is not worth a walk through the heap, in bytes.
const EBB_BYTES_MIN: usize = 256 * 1024;

/// Notices when a shard holds much less than it did.
#[derive(Default)]
pub struct Ebb {
    /// The most that was held since memory was last given back, in bytes.
    peak_bytes: usize,
    due_ms: Option<u64>,
    /// When memory is given back once more, after it was.
    afterwards_ms: Option<u64>,
}

impl Ebb {
    /// Takes note of what is held now. True: it is time to give memory back.
    #[inline]
    pub fn look(&mut self, now_ms: u64, held_bytes: usize) -> bool {
        self.peak_bytes = self.peak_bytes.max(held_bytes);
        if self.afterwards_ms.is_some_and(|at| at <= now_ms) {
            self.afterwards_ms = None;
            return true;
        }
        let ebb = self.peak_bytes - held_bytes;
        if ebb < EBB_BYTES_MIN || ebb < self.peak_bytes / 8 {
            self.due_ms = None;
            return false;
        }
        let due_ms = *self.due_ms.get_or_insert(now_ms + PATIENCE_MS);
        let is_due = due_ms <= now_ms;
        if is_due {
            self.peak_bytes = held_bytes;
            self.due_ms = None;
            self.afterwards_ms = Some(now_ms + AFTERWARDS_MS);
        }
        is_due
    }

    /// When to look again at the latest, in monotonic milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        let due = [self.due_ms, self.afterwards_ms];
        due.into_iter().flatten().min()
    }
}

/// Has the process take its memory in pages of the processor's own size, from now on.
///
/// The allocator asks for huge pages, of 2 MiB on x86-64. What is left of one after half of it was
/// freed is still resident, and how many there are depends on how fragmented the machine's memory
/// is: 18,000 idle connections took between 900 and 1,600 bytes each with them, and 592 without.
pub fn take_small_pages() {
    // An old kernel or a filter of system calls may refuse: then more is resident, and all works.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Has the heap of this thread returned to the system, as far as nothing lives in it; and that of
/// the C library, from which the cipher's contexts are.
pub fn return_free() {
    #[cfg(target_env = "gnu")]
    {
        // # Safety
        // The signature is that of malloc_trim(3).
        unsafe extern "C" {
            fn malloc_trim(keep_bytes: usize) -> std::ffi::c_int;
        }
        // SAFETY: malloc_trim(3): it may be called at any time, in any thread.
        unsafe { malloc_trim(0) };
    }
    // SAFETY: it may be called at any time, in any thread; under another global allocator it finds
    // an empty heap.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn gives_back_once_when_much_has_gone_for_good() {
        let mut ebb = Ebb::default();
        assert!(!ebb.look(0, 100 * MIB) && !ebb.look(10, 90 * MIB));
        assert_eq!(ebb.due_ms(), None, "a tenth less is no ebb");
        assert!(!ebb.look(20, 10 * MIB) && !ebb.look(400, MIB));
        assert_eq!(ebb.due_ms(), Some(20 + PATIENCE_MS));
        assert!(ebb.look(520, 0) && !ebb.look(521, 0));
        assert_eq!(ebb.due_ms(), Some(520 + AFTERWARDS_MS), "and once more");
        assert!(ebb.look(520 + AFTERWARDS_MS, 0) && !ebb.look(99_999, 0));
        assert_eq!(ebb.due_ms(), None);
    }

    #[test]
    fn a_flood_that_returns_is_no_ebb() {
        let mut ebb = Ebb::default();
        assert!(!ebb.look(0, 100 * MIB) && !ebb.look(10, 0));
        assert!(!ebb.look(500, 95 * MIB) && !ebb.look(600, 0) && !ebb.look(1_000, 0));
        assert!(ebb.look(1_100, 0) && ebb.look(6_000, 0));
        assert!(!ebb.look(7_000, EBB_BYTES_MIN / 2) && !ebb.look(9_000, 0));
    }
}
