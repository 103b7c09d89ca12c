//! The Sobel kernel beside `imageproc`'s and beside a plain copy of the same bytes.
//!
//! ```text
//! cargo bench --bench sobel
//! ```
//!
//! Criterion prints each in elements (pixels) per second; the table at the end is nanoseconds a pixel, best of many
//! runs, and how many times ours the others take.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use image::GrayImage;
use kernel::workload::{pictures::Gallery, sobel::sobel_into};
use kernel::{scenario::Size, workload::pictures::VARIANTS};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

const SIDES: [u32; 3] = [256, 512, 1024];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for side in SIDES {
        sobel_at(&mut criterion, side);
    }
    gallery(&mut criterion);
    criterion.final_summary();
    table();
}

fn sobel_at(criterion: &mut Criterion, side: u32) {
    let image = picture(side);
    let mut out = vec![0; image.len()];
    let mut group = criterion.benchmark_group("sobel");
    group.throughput(Throughput::Elements(image.len() as u64));
    group.bench_function(BenchmarkId::new("kernel", side), |b| b.iter(|| ours(&image, &mut out)));
    group.bench_function(BenchmarkId::new("imageproc", side), |b| b.iter(|| imageproc(&image)));
    group.bench_function(BenchmarkId::new("copy", side), |b| b.iter(|| copy(&image, &mut out)));
    group.finish();
}

fn gallery(criterion: &mut Criterion) {
    let sizes = [256, 512].map(|side| Size { width: side, height: side });
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut group = criterion.benchmark_group("gallery");
    group.throughput(Throughput::Elements(VARIANTS as u64 * (256 * 256 + 512 * 512)));
    group.bench_function("256x256 and 512x512", |b| b.iter(|| Gallery::synthetic(&sizes, &mut rng)));
    group.finish();
}

fn table() {
    println!(
        "\n{:>9} {:>10} {:>10} {:>10} {:>14} {:>10}",
        "side", "kernel", "imageproc", "copy", "imageproc/ours", "copy/ours"
    );
    for side in SIDES {
        let image = picture(side);
        let mut out = vec![0; image.len()];
        let ours = ns_per_pixel(image.len(), || ours(&image, &mut out));
        let theirs = ns_per_pixel(image.len(), || imageproc(&image));
        let copied = ns_per_pixel(image.len(), || copy(&image, &mut out));
        println!(
            "{side:>9} {ours:>10.3} {theirs:>10.3} {copied:>10.3} {:>14.1} {:>10.3}",
            theirs / ours,
            copied / ours
        );
    }
}

fn picture(side: u32) -> GrayImage {
    let gallery = Gallery::synthetic(&[Size { width: side, height: side }], &mut ChaCha8Rng::seed_from_u64(1));
    let picture = gallery.draw(&mut ChaCha8Rng::seed_from_u64(2));
    GrayImage::from_raw(side, side, picture.pixels.to_vec()).expect("one byte a pixel")
}

fn ours(image: &GrayImage, out: &mut [u8]) {
    sobel_into(black_box(image.as_raw()), image.width() as usize, black_box(out));
}

/// The magnitudes as `imageproc` offers them: 16-bit, not clamped to 255, in a buffer of its own.
fn imageproc(image: &GrayImage) {
    black_box(imageproc::gradients::sobel_gradients(black_box(image)));
}

fn copy(image: &GrayImage, out: &mut [u8]) {
    black_box(out).copy_from_slice(black_box(image.as_raw()));
}

/// The least of 50 runs: the machine's noise only ever adds.
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a benchmark measures real time")]
fn ns_per_pixel(pixels: usize, mut run: impl FnMut()) -> f64 {
    let best = (0..50).map(|_| {
        let start = std::time::Instant::now();
        run();
        start.elapsed()
    });
    best.min().map_or(f64::NAN, |elapsed| elapsed.as_nanos() as f64 / pixels as f64)
}
