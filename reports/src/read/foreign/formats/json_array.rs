//! A JSON array of objects of any program, whose columns are mapped or have names that say what they hold.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "json-array",
    source: "a JSON array",
    is_it: |head| head.is_array(),
    gives: Gives::Rows(|_| Recipe { is_by_name: true, ..Recipe::new(Layout::JsonArray(None), "") }),
};
