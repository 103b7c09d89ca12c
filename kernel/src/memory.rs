//! Settings of the memory allocator.

/// Makes the allocator keep freed memory. By default it returns memory to the operating system and requests it again,
/// cleared, for about every image. glibc raises its thresholds to the size of the largest mapped block that is freed, up to
/// 32 MiB, so this function frees one such block. The block is never written, so it costs two system calls.
pub fn keep() {
    // The black box keeps the compiler from removing an allocation without use.
    drop(std::hint::black_box(Vec::<u8>::with_capacity((32 << 20) - (64 << 10))));
}
