//! The legend of a panel. It is above the data, never on it.

use super::canvas::{Anchor, Canvas, Paint, Style, text_width};
use crate::figure::{Dash, Layer, LayerShape, Mark, Panel};

/// The size of the font.
const SIZE: f64 = 11.5;

/// The distance from one row to the next.
const ROW: f64 = 17.0;

/// The width of a sample of the layer.
const SAMPLE: f64 = 18.0;

/// The distance between the sample and its name.
const SPACE: f64 = 5.0;

/// The distance between two entries.
const GAP: f64 = 16.0;

/// The radius of a large dot.
const RADIUS: f64 = 3.8;

/// The entries of a panel with their places, counted from the upper left corner of its header.
pub(super) struct Legend<'a> {
    title: &'a str,
    entries: Vec<(&'a Layer, (f64, f64))>,
    pub(super) height: f64,
}

impl<'a> Legend<'a> {
    /// Returns the legend in rows of at most `width` pixels, the title first.
    pub(super) fn new(panel: &'a Panel, width: f64) -> Self {
        let title_width = if panel.title.is_empty() { 0.0 } else { text_width(&panel.title, SIZE) * 1.08 + GAP };
        let mut x = title_width;
        let mut y = 0.0;
        let mut entries: Vec<(&Layer, (f64, f64))> = Vec::new();
        for layer in panel.layers.iter().filter(|layer| !layer.name.is_empty()) {
            let needed = SAMPLE + SPACE + text_width(&layer.name, SIZE);
            if x > 0.0 && x + needed > width {
                x = 0.0;
                y += ROW;
            }
            entries.push((layer, (x, y)));
            x += needed + GAP;
        }
        Self { title: &panel.title, entries, height: y + ROW }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas<'_>, corner: (f64, f64)) {
        canvas.text(self.title, corner, Style { bold: true, ..Style::new(SIZE, Anchor::Left) });
        for (layer, (x, y)) in &self.entries {
            let x = corner.0 + x;
            let y = corner.1 + y;
            sample(canvas, layer, (x, y + SIZE * 0.45));
            let style = Style { paint: Paint::MUTED, ..Style::new(SIZE, Anchor::Left) };
            canvas.text(&layer.name, (x + SAMPLE + SPACE, y), style);
        }
    }
}

/// Draws a sample of the layer. `at` is the middle of its left edge.
fn sample(canvas: &mut Canvas<'_>, layer: &Layer, at: (f64, f64)) {
    let paint = Paint::for_colour(layer.colour);
    let ends = [at, (at.0 + SAMPLE, at.1)];
    let centre = (at.0 + SAMPLE / 2.0, at.1);
    let upper = (at.0 + 2.0, at.1 - 4.5);
    let lower = (at.0 + SAMPLE - 2.0, at.1 + 4.5);
    match &layer.shape {
        LayerShape::Line { dash: Dash::Solid, .. } => canvas.line(&ends, paint, 2.2, 1.0),
        LayerShape::Line { dash, .. } => canvas.dashes(&ends, *dash, paint, 1.8),
        LayerShape::Area(_) => canvas.rectangle(upper, lower, paint, 0.25),
        LayerShape::Bars(_) => canvas.rectangle(upper, lower, paint, 1.0),
        LayerShape::Cells(_) => canvas.rectangle(upper, lower, paint, 0.8),
        LayerShape::Points { mark, .. } => draw_mark(canvas, *mark, centre, paint, 1.0),
    }
}

/// Draws a mark with its centre at `at`.
pub(super) fn draw_mark(canvas: &mut Canvas<'_>, mark: Mark, at: (f64, f64), paint: Paint, alpha: f64) {
    let (x, y) = at;
    match mark {
        Mark::Dot => canvas.disc(at, 2.3, paint, alpha),
        Mark::Disc => canvas.disc(at, RADIUS, paint, 1.0),
        Mark::Ring => {
            let angles = (0..=24).map(|step| f64::from(step) / 24.0 * std::f64::consts::TAU);
            let circle = angles.map(|angle| (x + RADIUS * angle.cos(), y + RADIUS * angle.sin()));
            canvas.line(&circle.collect::<Vec<_>>(), paint, 1.5, 1.0);
        }
        Mark::Cross => {
            canvas.line(&[(x - 3.2, y - 3.2), (x + 3.2, y + 3.2)], paint, 1.5, alpha);
            canvas.line(&[(x - 3.2, y + 3.2), (x + 3.2, y - 3.2)], paint, 1.5, alpha);
        }
        Mark::Triangle => canvas.polygon(&[(x - 4.2, y + 3.6), (x + 4.2, y + 3.6), (x, y - 4.4)], paint, alpha),
    }
}
