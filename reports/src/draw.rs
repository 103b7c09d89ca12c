//! Draws figures. This is the only module that knows plotters, pixels and fonts.
//!
//! A figure is drawn once, as SVG. PNG is made from that, with a font that is part of the program. Texts have generic font
//! families of CSS only, so a page shows them in the reader's own font. Colours are plain attributes, which the style sheet
//! of a page may replace: so a plot is dark in a dark page.

mod canvas;
mod legend;
mod names;
mod panel;
mod png;
mod tick;

use self::{
    canvas::{Anchor, Canvas, Style},
    panel::{BandLabels, Frame, draw_panel, foot, labels_of},
};
use crate::figure::Figure;

pub use self::{canvas::Paint, png::png};

/// The size of the screen or paper that a figure is drawn for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The screen of a computer, or paper: 960 pixels.
    Wide,
    /// The screen of a telephone in portrait mode: 380 pixels.
    Narrow,
}

impl Room {
    fn width(self) -> f64 {
        match self {
            Self::Wide => 960.0,
            Self::Narrow => 380.0,
        }
    }

    /// Returns the height of a panel of this weight, without its legend.
    fn height(self, weight: f64) -> f64 {
        match self {
            Self::Wide => 190.0 * weight,
            Self::Narrow => 165.0 * weight,
        }
    }

    /// Returns the left and the right edge of the data, as shares of the width.
    pub fn data_edges(self) -> (f64, f64) {
        (self.left() / self.width(), 1.0 - RIGHT / self.width())
    }

    /// Returns the left edge of the data. The labels of the y axis are on its left.
    fn left(self) -> f64 {
        match self {
            Self::Wide => 78.0,
            Self::Narrow => 70.0,
        }
    }
}

const RIGHT: f64 = 16.0;
const TITLE_SIZE: f64 = 15.0;
const CAPTION_SIZE: f64 = 12.5;
/// The distance between two panels.
const GAP: f64 = 14.0;

/// Where the parts of a figure are.
struct Layout {
    caption: Vec<String>,
    labels: BandLabels,
    frames: Vec<Frame>,
    height: f64,
}

impl Layout {
    fn new(figure: &Figure, room: Room) -> Self {
        let caption = wrapped(&figure.caption, ((room.width() - 24.0) / (CAPTION_SIZE * 0.52)) as usize);
        let head = 12.0 + TITLE_SIZE + 6.0 + caption.len() as f64 * (CAPTION_SIZE + 4.0) + 6.0;
        let area = (room.left(), room.width() - RIGHT);
        let labels = labels_of(&figure.bands, &figure.x, area, room);
        let mut frames: Vec<Frame> = Vec::with_capacity(figure.panels.len());
        let mut y = head;
        for (index, panel) in figure.panels.iter().enumerate() {
            let bands = if index == 0 { labels.rows } else { 0 };
            let frame = Frame::below(y, panel, bands, room, area);
            y = frame.bottom + GAP;
            frames.push(frame);
        }
        let height = y - GAP + foot(&figure.x, area);
        Self { caption, labels, frames, height }
    }
}

/// Returns the upper and the lower edge of the data of each panel, as shares of the height of the drawn figure.
pub fn panel_edges(figure: &Figure, room: Room) -> Vec<(f64, f64)> {
    let Layout { frames, height, .. } = Layout::new(figure, room);
    frames.iter().map(|frame| (frame.top / height, frame.bottom / height)).collect()
}

/// Returns the figure as an SVG document. The same figure gives the same text.
pub fn svg(figure: &Figure, room: Room) -> String {
    let Layout { caption, labels, frames, height } = Layout::new(figure, room);
    Canvas::document((room.width(), height), |canvas| {
        canvas.rectangle((0.0, 0.0), (room.width(), height), Paint::PAPER, 1.0);
        let title = match room {
            Room::Wide => format!("{} · {}", figure.title, figure.subject),
            Room::Narrow => figure.title.clone(),
        };
        canvas.text(&title, (12.0, 12.0), Style { bold: true, ..Style::new(TITLE_SIZE, Anchor::Left) });
        for (row, line) in caption.iter().enumerate() {
            let at = (12.0, 12.0 + TITLE_SIZE + 6.0 + row as f64 * (CAPTION_SIZE + 4.0));
            canvas.text(line, at, Style { paint: Paint::MUTED, ..Style::new(CAPTION_SIZE, Anchor::Left) });
        }
        for (index, (panel, frame)) in figure.panels.iter().zip(&frames).enumerate() {
            let last = index + 1 == frames.len();
            draw_panel(canvas, figure, panel, frame, (index == 0).then_some(&labels), last);
        }
    })
}

/// Returns `text` in lines of at most `columns` characters, broken between words.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
