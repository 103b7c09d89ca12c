//! Renders SVG as PNG, with a font that is part of the program: no picture depends on the fonts of the machine.

use std::sync::Arc;

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

/// The number of pixels of the picture per pixel of the drawing, for screens with a high resolution.
const ZOOM: f32 = 2.0;

/// Returns the drawing as PNG, at twice its size.
///
/// # Errors
/// `svg` is not a drawing or has no size. Documents of [`svg`](super::svg()) never fail.
pub fn png(svg: &str) -> Result<Vec<u8>, PngError> {
    let tree = Tree::from_str(svg, &options()).map_err(|error| PngError(error.to_string()))?;
    let size = tree.size().to_int_size();
    let [width, height] = [size.width(), size.height()].map(|side| (side as f32 * ZOOM).ceil() as u32);
    let mut picture = Pixmap::new(width, height).ok_or_else(|| PngError("it has no size".into()))?;
    resvg::render(&tree, Transform::from_scale(ZOOM, ZOOM), &mut picture.as_mut());
    picture.encode_png().map_err(|error| PngError(error.to_string()))
}

/// The error of a text that is not an SVG document, or cannot be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot draw a picture: {0}")]
pub struct PngError(String);

fn options() -> Options<'static> {
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    Options { font_family: "DejaVu Sans".into(), fontdb: Arc::new(fonts), ..Options::default() }
}
