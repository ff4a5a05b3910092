//! A shard's thread runs shortly and often. Linux (6.12 and newer) lets a thread say so: one that
//! asks for short slices of a processor gets it as soon as it wakes, from a thread with longer ones
//! that would otherwise go on for some milliseconds. It gets no more of the processor than before.

/// The shortest slice that the system gives, in nanoseconds.
const SLICE_NS: u64 = 100_000;

/// `struct sched_attr` of sched_setattr(2), in its first version.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

const SIZE: u32 = size_of::<Attributes>() as u32;

/// Asks for them, for the calling thread. Older systems do not listen, and a thread that was given
/// another class than the normal one keeps it.
pub fn ask_for_short_slices() {
    let Some(mut attributes) = now() else { return };
    if attributes.policy == libc::SCHED_OTHER as u32 {
        attributes.runtime_ns = SLICE_NS;
        // SAFETY: sched_setattr(2) for the calling thread (0) reads a `struct sched_attr` of the
        // size that is in it, and writes nothing.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    }
}

fn now() -> Option<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: sched_getattr(2) for the calling thread (0) writes at most `SIZE` bytes to where it
    // is told, which is what is there.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    (got == 0).then_some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_slice_changes() {
        let before = now().unwrap();
        ask_for_short_slices();
        let after = now().unwrap();
        assert_eq!((after.policy, after.nice), (before.policy, before.nice));
        // Zero: a system that has no slices to give.
        assert!([0, SLICE_NS, before.runtime_ns].contains(&after.runtime_ns));
    }
}
