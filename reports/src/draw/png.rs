//! PNG from SVG, with a font that is part of the program: no picture depends on what a machine has installed.

use std::sync::Arc;

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{Options, Tree, fontdb::Database},
};

/// Pixels of the picture to one of the drawing, for screens of today.
const ZOOM: f32 = 2.0;

/// The drawing as PNG, at twice its size.
///
/// # Errors
/// `svg` is no drawing or has no size; what [`svg`](super::svg) writes is one.
pub fn png(svg: &str) -> Result<Vec<u8>, PngError> {
    let tree = Tree::from_str(svg, &options()).map_err(|error| PngError(error.to_string()))?;
    let size = tree.size().to_int_size();
    let scale = |side: u32| (side as f32 * ZOOM).ceil() as u32;
    let mut picture =
        Pixmap::new(scale(size.width()), scale(size.height())).ok_or_else(|| PngError("it has no size".into()))?;
    resvg::render(&tree, Transform::from_scale(ZOOM, ZOOM), &mut picture.as_mut());
    picture.encode_png().map_err(|error| PngError(error.to_string()))
}

/// The text is no SVG document that can be drawn.
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
