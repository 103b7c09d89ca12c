//! One panel: bands, grid, axes, layers.

use super::{
    RIGHT, Room,
    canvas::{Anchor, Canvas, Paint, Style, text_width},
    legend::{Legend, draw_mark},
    names,
    tick::ticks,
};
use crate::figure::{Axis, Band, Bar, Dash, Figure, GridCell, Layer, LayerShape, Panel, Ticks};

/// The size of the font of ticks.
const TICK_SIZE: f64 = 11.5;

/// The size of the font of bands.
const BAND_SIZE: f64 = 11.0;

/// The distance from one row of band names to the next.
const BAND_ROW: f64 = 15.0;

/// The opacity of bands.
const BAND_ALPHA: f64 = 0.14;

/// The width of the topmost line.
const LINE: f64 = 1.7;

/// The additional width of each line below another one.
const LINE_STEP: f64 = 1.5;

/// The least distance of two ticks on the x axis.
const X_TICK_ROOM: f64 = 56.0;

/// The least distance of two ticks on the y axis.
const Y_TICK_ROOM: f64 = 30.0;

/// The least distance between the labels of two ticks.
const LABEL_SPACE: f64 = 8.0;

/// The height below the last panel: a row of tick labels and the label of the axis.
const FOOT: f64 = 44.0;

/// The place of a panel on the canvas, in pixels.
pub(super) struct Frame {
    /// The upper edge of the header: legend, then band names.
    head: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    left: f64,
    right: f64,
    legend_height: f64,
}

impl Frame {
    /// Returns the frame of `panel`, below `y`, with `bands` rows of band names.
    pub(super) fn below(y: f64, panel: &Panel, bands: usize, room: Room, area: (f64, f64)) -> Self {
        let legend_height = Legend::new(panel, area.1 - 12.0).height;
        let top = y + legend_height + bands as f64 * BAND_ROW + 4.0;
        let bottom = top + room.height(panel.weight);
        Self { head: y, top, bottom, left: area.0, right: area.1, legend_height }
    }

    fn x(&self, axis: &Axis, value: f64) -> Option<f64> {
        axis.position(value).map(|share| self.left + share * (self.right - self.left))
    }

    /// Returns the place of a value. Names count from the top down, everything else from the bottom up.
    fn y(&self, axis: &Axis, value: f64) -> Option<f64> {
        let height = self.bottom - self.top;
        let down = matches!(axis.ticks, Ticks::Names(_));
        axis.position(value).map(|share| if down { self.top + share * height } else { self.bottom - share * height })
    }

    fn at(&self, x: &Axis, y: &Axis, point: (f64, f64)) -> Option<(f64, f64)> {
        Some((self.x(x, point.0)?, self.y(y, point.1)?))
    }
}

/// Returns the height of what is below the last panel.
pub(super) fn foot(axis: &Axis, area: (f64, f64)) -> f64 {
    FOOT + (names::rows(axis, area.1 - area.0, TICK_SIZE) - 1) as f64 * names::ROW
}

/// The names of the bands, and their places.
pub(super) struct BandLabels {
    /// The name, the left edge in pixels, and the row.
    labels: Vec<(String, f64, usize)>,
    pub(super) rows: usize,
}

/// Returns the places of the names of bands. Each starts at its band, in the first row that has room there.
pub(super) fn labels_of(bands: &[Band], axis: &Axis, area: (f64, f64), room: Room) -> BandLabels {
    let mut ends: Vec<f64> = Vec::new();
    let mut labels = Vec::new();
    for band in bands {
        let name = if room == Room::Narrow { &band.short_name } else { &band.name };
        let width = text_width(name, BAND_SIZE) + 8.0;
        let Some(share) = axis.position(band.from) else { continue };
        let start = (area.0 + share * (area.1 - area.0)).min(area.1 - width).max(area.0);
        let row = ends.iter().position(|end| *end <= start).unwrap_or(ends.len());
        if row == ends.len() {
            ends.push(0.0);
        }
        ends[row] = start + width;
        labels.push((name.clone(), start, row));
    }
    BandLabels { labels, rows: ends.len() }
}

/// Draws a panel. `labels` are given for the first panel only, and `last` is true for the panel with the x axis.
pub(super) fn draw_panel(
    canvas: &mut Canvas<'_>,
    figure: &Figure,
    panel: &Panel,
    frame: &Frame,
    labels: Option<&BandLabels>,
    last: bool,
) {
    Legend::new(panel, frame.right - 12.0).draw(canvas, (12.0, frame.head));
    if let Some(labels) = labels {
        for (name, x, row) in &labels.labels {
            let at = (*x, frame.head + frame.legend_height + *row as f64 * BAND_ROW);
            canvas.text(name, at, Style { paint: Paint::MUTED, ..Style::new(BAND_SIZE, Anchor::Left) });
        }
    }
    draw_bands(canvas, &figure.bands, &figure.x, frame);
    draw_grid(canvas, figure, panel, frame, last);
    for (index, layer) in panel.layers.iter().enumerate() {
        // A line that is covered by others is wider, so that it stays visible beside them.
        let above = &panel.layers[index + 1..];
        let lines = above.iter().filter(|layer| matches!(layer.shape, LayerShape::Line { .. })).count();
        let width = LINE + LINE_STEP * lines.min(3) as f64;
        draw_layer(canvas, layer, width, &figure.x, &panel.y, frame);
    }
    let edge = [(frame.left, frame.top), (frame.left, frame.bottom), (frame.right, frame.bottom)];
    canvas.line(&edge, Paint::MUTED, 1.0, 1.0);
}

fn draw_bands(canvas: &mut Canvas<'_>, bands: &[Band], axis: &Axis, frame: &Frame) {
    for band in bands {
        let (Some(from), Some(to)) = (frame.x(axis, band.from), frame.x(axis, band.to)) else { continue };
        if to - from > 0.5 {
            canvas.rectangle((from, frame.top), (to, frame.bottom), Paint::BAND, BAND_ALPHA);
        }
        // The two edges of a very narrow band would be one blurred line.
        for x in if to - from > 0.5 { vec![from, to] } else { vec![from] } {
            canvas.line(&[(x, frame.top), (x, frame.bottom)], Paint::BAND, 1.2, 0.9);
        }
    }
}

fn draw_grid(canvas: &mut Canvas<'_>, figure: &Figure, panel: &Panel, frame: &Frame, last: bool) {
    // Lanes have bars of their own, so lines between them would be in the way.
    let names = matches!(panel.y.ticks, Ticks::Names(_));
    for (value, label) in ticks(&panel.y, ((frame.bottom - frame.top) / Y_TICK_ROOM) as usize) {
        let Some(y) = frame.y(&panel.y, value) else { continue };
        if !names {
            canvas.line(&[(frame.left, y), (frame.right, y)], Paint::GRID, 1.0, 1.0);
        }
        let style = Style { middle: true, paint: Paint::MUTED, ..Style::new(TICK_SIZE, Anchor::Right) };
        canvas.text(&label, (frame.left - 7.0, y), style);
    }
    for (value, _) in ticks(&figure.x, ((frame.right - frame.left) / X_TICK_ROOM) as usize) {
        let Some(x) = frame.x(&figure.x, value) else { continue };
        canvas.line(&[(x, frame.top), (x, frame.bottom)], Paint::GRID, 1.0, 0.7);
    }
    if last {
        draw_foot(canvas, &figure.x, frame);
    }
    let style =
        Style { paint: Paint::MUTED, upwards: true, middle: true, ..Style::new(TICK_SIZE - 0.5, Anchor::Centre) };
    canvas.text(&panel.y.label, (11.0, (frame.top + frame.bottom) / 2.0), style);
}

/// Draws the labels of the x axis.
fn draw_foot(canvas: &mut Canvas<'_>, axis: &Axis, frame: &Frame) {
    let length = frame.right - frame.left;
    let rows = names::rows(axis, length, TICK_SIZE);
    let style = Style { paint: Paint::MUTED, ..Style::new(TICK_SIZE, Anchor::Centre) };
    let mut taken = f64::NEG_INFINITY;
    for (index, (value, label)) in ticks(axis, (length / X_TICK_ROOM) as usize).into_iter().enumerate() {
        let Some(x) = frame.x(axis, value) else { continue };
        canvas.line(&[(x, frame.bottom), (x, frame.bottom + 4.0)], Paint::MUTED, 1.0, 1.0);
        let label = names::cut(&label, axis, length, rows, TICK_SIZE);
        let half = text_width(&label, TICK_SIZE) / 2.0;
        // Values that a user chose may be close to each other.
        if matches!(axis.ticks, Ticks::Places(_)) && x - half < taken {
            continue;
        }
        taken = x + half + LABEL_SPACE;
        // A long name at the edge must not leave the canvas.
        let x = if rows > 1 { x.min(frame.right + RIGHT - half).max(half) } else { x };
        canvas.text(&label, (x, frame.bottom + 8.0 + (index % rows) as f64 * names::ROW), style);
    }
    let below = frame.bottom + 25.0 + (rows - 1) as f64 * names::ROW;
    canvas.text(&axis.label, ((frame.left + frame.right) / 2.0, below), style);
}

fn draw_layer(canvas: &mut Canvas<'_>, layer: &Layer, width: f64, x: &Axis, y: &Axis, frame: &Frame) {
    let paint = Paint::for_colour(layer.colour);
    match &layer.shape {
        LayerShape::Line { points, dash } => {
            for stretch in stretches(points, |point| frame.at(x, y, *point)) {
                match stretch.as_slice() {
                    [alone] => canvas.disc(*alone, 1.6, paint, 1.0),
                    line if *dash == Dash::Solid => canvas.line(line, paint, width, 1.0),
                    line => canvas.dashes(line, *dash, paint, LINE),
                }
            }
        }
        LayerShape::Area(points) => {
            for stretch in stretches(points, |&(at, lower, upper)| {
                Some((frame.at(x, y, (at, lower))?, frame.at(x, y, (at, upper))?))
            }) {
                let outline =
                    stretch.iter().map(|(lower, _)| *lower).chain(stretch.iter().rev().map(|(_, upper)| *upper));
                canvas.polygon(&outline.collect::<Vec<_>>(), paint, 0.22);
            }
        }
        LayerShape::Points { points, mark } => {
            for at in points.iter().filter_map(|point| frame.at(x, y, *point)) {
                draw_mark(canvas, *mark, at, paint, 0.75);
            }
        }
        LayerShape::Cells(cells) => cells.iter().for_each(|cell| draw_cell(canvas, cell, paint, x, y, frame)),
        LayerShape::Bars(bars) => bars.iter().for_each(|bar| draw_bar(canvas, bar, paint, x, y, frame)),
    }
}

fn draw_cell(canvas: &mut Canvas<'_>, cell: &GridCell, paint: Paint, x: &Axis, y: &Axis, frame: &Frame) {
    let lower = frame.at(x, y, (cell.x.0, cell.y.0));
    let upper = frame.at(x, y, (cell.x.1, cell.y.1));
    if let (Some(lower), Some(upper)) = (lower, upper) {
        canvas.rectangle((lower.0, upper.1), (upper.0, lower.1), paint, cell.weight);
    }
}

/// Draws a bar. It is at least a pixel wide, so that a short one is visible, too.
fn draw_bar(canvas: &mut Canvas<'_>, bar: &Bar, paint: Paint, x: &Axis, y: &Axis, frame: &Frame) {
    let upper = frame.at(x, y, (bar.from, bar.row - bar.height / 2.0));
    let lower = frame.at(x, y, (bar.to, bar.row + bar.height / 2.0));
    if let (Some(upper), Some(lower)) = (upper, lower) {
        // On an axis that counts from the bottom up, the greater value is above.
        let (top, bottom) = (upper.1.min(lower.1), upper.1.max(lower.1));
        canvas.rectangle((upper.0, top), (lower.0.max(upper.0 + 1.0), bottom), paint, 1.0);
    }
}

/// Returns the places of the points, in stretches that are interrupted where a point has no place.
fn stretches<T, P>(points: &[T], place: impl Fn(&T) -> Option<P>) -> Vec<Vec<P>> {
    let mut stretches = vec![Vec::new()];
    for point in points {
        match (place(point), stretches.last_mut()) {
            (Some(at), Some(stretch)) => stretch.push(at),
            (None, Some(stretch)) if !stretch.is_empty() => stretches.push(Vec::new()),
            _ => {}
        }
    }
    stretches.retain(|stretch| !stretch.is_empty());
    stretches
}
