//! What becomes of memory that is freed.

/// Has the allocator keep what is freed. By default it returns memory to the operating system, and gets it back and
/// cleared, for about every image. glibc adapts its thresholds to the largest block of its own mapping that is freed,
/// up to 32 MiB; this one is never touched, so it costs two system calls.
pub fn keep() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity((32 << 20) - (64 << 10))));
}
