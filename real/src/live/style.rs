//! Styles that several parts of the dashboard share.

use ratatui::style::{Modifier, Style};

/// Style of names and headings, so that the figures beside them stand out.
pub(super) const HEADING: Style = Style::new().add_modifier(Modifier::DIM);
