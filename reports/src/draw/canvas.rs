//! A canvas with coordinates in pixels, from the upper left corner.

use plotters::{
    prelude::SVGBackend,
    style::{
        FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingBackend};

use crate::figure::{Colour, Dash};

/// The number of units in a pixel. Backends take whole numbers, and a whole pixel would be too coarse.
const UNITS: f64 = 10.0;

/// The number by which plotters divides the size of a font before it writes it.
const FONT_SCALE: f64 = 1.24;

/// The mean width of a character, as a share of the size of the font. It is rather too wide than too narrow.
const CHARACTER_WIDTH: f64 = 0.57;

/// A colour on the canvas: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(pub u8, pub u8, pub u8);

impl Paint {
    /// The background.
    pub const PAPER: Self = Self(0xFF, 0xFF, 0xFF);
    /// Titles and the darkest data.
    pub const INK: Self = Self(0x1B, 0x1F, 0x24);
    /// Axes and labels.
    pub const MUTED: Self = Self(0x5B, 0x63, 0x6C);
    /// Grid lines.
    pub const GRID: Self = Self(0xE4, 0xE7, 0xEB);
    /// The normal state in lanes.
    pub const PALE: Self = Self(0xC3, 0xD3, 0xDF);
    /// The bands of faults.
    pub const BAND: Self = Self(0xB8, 0x86, 0x0B);

    /// Returns the colour in the notation of SVG and CSS.
    pub fn hexadecimal(self) -> String {
        format!("#{:02X}{:02X}{:02X}", self.0, self.1, self.2)
    }

    pub(super) fn for_colour(colour: Colour) -> Self {
        match colour {
            Colour::Ink => Self::INK,
            Colour::Grey => Self(0x9A, 0xA1, 0xA9),
            Colour::Pale => Self::PALE,
            Colour::Blue => Self(0x00, 0x72, 0xB2),
            Colour::Orange => Self(0xE6, 0x9F, 0x00),
            Colour::Green => Self(0x00, 0x9E, 0x73),
            Colour::Vermillion => Self(0xD5, 0x5E, 0x00),
            Colour::Purple => Self(0xCC, 0x79, 0xA7),
            Colour::Sky => Self(0x56, 0xB4, 0xE9),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Left,
    Centre,
    Right,
}

/// The look of a text. Its position is that of its anchor at its upper edge or, if `middle` is true, at half its height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Style {
    pub(super) size: f64,
    pub(super) anchor: Anchor,
    pub(super) paint: Paint,
    pub(super) bold: bool,
    pub(super) middle: bool,
    /// True for a text that is read from bottom to top.
    pub(super) upwards: bool,
}

impl Style {
    pub(super) fn new(size: f64, anchor: Anchor) -> Self {
        Self { size, anchor, paint: Paint::INK, bold: false, middle: false, upwards: false }
    }
}

/// Returns roughly the greatest width of a text. It is not exact, because readers have different fonts.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * CHARACTER_WIDTH
}

/// A canvas, with everything that has been drawn on it.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
}

/// The colour and the width of a line or an area, in the form that plotters needs.
struct Pen {
    paint: Paint,
    alpha: f64,
    /// The width in units.
    width: u32,
}

impl BackendStyle for Pen {
    fn color(&self) -> BackendColor {
        BackendColor { rgb: (self.paint.0, self.paint.1, self.paint.2), alpha: self.alpha }
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

impl Canvas<'_> {
    /// Returns a scalable SVG document of `size` pixels with everything that `draw` draws.
    pub(super) fn document(size: (f64, f64), draw: impl FnOnce(&mut Canvas<'_>)) -> String {
        let units = (units(size.0) as u32, units(size.1) as u32);
        let mut text = String::new();
        let mut canvas = Canvas { backend: SVGBackend::with_string(&mut text, units) };
        draw(&mut canvas);
        // Ends the document; writing to a string cannot fail.
        let _ = canvas.backend.present();
        drop(canvas);
        // Plotters writes the size in units. The reader's size is in pixels, and the view box scales between them.
        let natural = format!("<svg width=\"{:.0}\" height=\"{:.0}\"", size.0, size.1);
        text.replacen(&format!("<svg width=\"{}\" height=\"{}\"", units.0, units.1), &natural, 1)
    }

    pub(super) fn rectangle(&mut self, from: (f64, f64), to: (f64, f64), paint: Paint, alpha: f64) {
        let pen = Pen { paint, alpha, width: 1 };
        let _ = self.backend.draw_rect(point(from), point(to), &pen, true);
    }

    pub(super) fn line(&mut self, points: &[(f64, f64)], paint: Paint, width: f64, alpha: f64) {
        // A width of 0 units would make a thin line invisible.
        let pen = Pen { paint, alpha, width: units(width).max(1) as u32 };
        if points.len() > 1 {
            let _ = self.backend.draw_path(points.iter().map(|at| point(*at)), &pen);
        }
    }

    /// Draws a line with gaps. The pattern continues across the corners.
    pub(super) fn dashes(&mut self, points: &[(f64, f64)], dash: Dash, paint: Paint, width: f64) {
        let pattern = pattern(dash);
        let mut place = 0;
        let mut left = pattern[place];
        let mut stroke: Vec<(f64, f64)> = points.first().copied().into_iter().collect();
        for pair in points.windows(2) {
            let mut from = pair[0];
            let to = pair[1];
            loop {
                let distance = (to.0 - from.0).hypot(to.1 - from.1);
                if distance <= left {
                    left -= distance;
                    stroke.push(to);
                    break;
                }
                let share = left / distance;
                from = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
                stroke.push(from);
                // Strokes have even places, gaps odd ones.
                if place % 2 == 0 {
                    self.line(&stroke, paint, width, 1.0);
                }
                place = (place + 1) % pattern.len();
                left = pattern[place];
                stroke = vec![from];
            }
        }
        if place % 2 == 0 {
            self.line(&stroke, paint, width, 1.0);
        }
    }

    pub(super) fn polygon(&mut self, points: &[(f64, f64)], paint: Paint, alpha: f64) {
        let pen = Pen { paint, alpha, width: 1 };
        if points.len() > 2 {
            let _ = self.backend.fill_polygon(points.iter().map(|at| point(*at)), &pen);
        }
    }

    pub(super) fn disc(&mut self, centre: (f64, f64), radius: f64, paint: Paint, alpha: f64) {
        let pen = Pen { paint, alpha, width: 1 };
        let _ = self.backend.draw_circle(point(centre), units(radius) as u32, &pen, true);
    }

    pub(super) fn text(&mut self, text: &str, at: (f64, f64), style: Style) {
        let horizontal = match style.anchor {
            Anchor::Left => HPos::Left,
            Anchor::Centre => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let vertical = if style.middle { VPos::Center } else { VPos::Top };
        let weight = if style.bold { FontStyle::Bold } else { FontStyle::Normal };
        let turn = if style.upwards { FontTransform::Rotate270 } else { FontTransform::None };
        let font = FontDesc::new(FontFamily::SansSerif, style.size * UNITS * FONT_SCALE, weight).transform(turn);
        let colour = RGBColor(style.paint.0, style.paint.1, style.paint.2);
        let style: TextStyle<'_> = TextStyle::from(font).color(&colour).pos(Pos::new(horizontal, vertical));
        let _ = self.backend.draw_text(text, &style, point(at));
    }
}

/// Returns the lengths of strokes and gaps by turns, in pixels.
fn pattern(dash: Dash) -> &'static [f64] {
    match dash {
        // One stroke that no canvas is long enough for.
        Dash::Solid => &[f64::INFINITY, 1.0],
        Dash::Dashed => &[7.0, 5.0],
        Dash::Dotted => &[2.0, 3.0],
        Dash::Mixed => &[8.0, 3.0, 2.0, 3.0],
    }
}

fn units(pixels: f64) -> i32 {
    (pixels * UNITS).round() as i32
}

fn point(at: (f64, f64)) -> BackendCoord {
    (units(at.0), units(at.1))
}
