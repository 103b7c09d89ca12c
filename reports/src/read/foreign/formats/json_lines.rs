//! JSON lines of any program, whose columns are mapped or have names that say what they hold.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "json-lines",
    source: "JSON lines",
    is_it: |head| head.text.starts_with('{'),
    gives: Gives::Rows(|_| Recipe { is_by_name: true, ..Recipe::new(Layout::JsonLines, "") }),
};
